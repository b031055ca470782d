package config

func notBuiltScheme(text, scheme string) error { return nil }
