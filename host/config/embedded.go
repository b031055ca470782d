package config

import _ "embed"

// DefaultFile is the name that errors and logs give to [DefaultYAML].
const DefaultFile = "default.yaml"

// DefaultYAML is the configuration that `framehost run` runs without a file: one route on loopback ports. Its upstream,
// 127.0.0.1:7002, is an echo that the command starts.
//
//go:embed default.yaml
var DefaultYAML []byte

// StarterYAML is a commented configuration to begin with; `framehost config init` writes it.
//
//go:embed starter.yaml
var StarterYAML []byte
