"""Files, arrays and manifests, written whole and verified; memory and disk space; locks; remote stores."""
