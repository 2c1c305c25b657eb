"""Atomic files, arrays, manifests and their checksums; locks; memory and disk space; remote stores."""
