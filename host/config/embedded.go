package config

import _ "embed"

// DefaultFile is the name of [DefaultYAML] in errors and logs.
const DefaultFile = "default.yaml"

// DefaultYAML is the configuration of `framehost run` without a file: one route on loopback ports. The command also starts the route's
// upstream, an echo server at 127.0.0.1:7002.
//
//go:embed default.yaml
var DefaultYAML []byte

// StarterYAML is a commented configuration to begin with; `framehost config init` writes it.
//
//go:embed starter.yaml
var StarterYAML []byte
