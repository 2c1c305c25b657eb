"""The models: a configuration and the module it builds."""
