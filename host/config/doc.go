// Package config reads framehost's configuration: a file of plugins, codecs and routes, with environment variables and
// flags over it. What it returns is validated whole; what is wrong is reported all at once, each with its place:
//
//	relay.yaml:7:19: routes[0].from.listen: got "tcp://scale", want a port, such as tcp://0.0.0.0:7001
//	FRAMEHOST_LIMITS_MAX_FRAME: limits.max_frame: got "10", want a size with its unit, such as 10B or 10KiB
//
// The comments of the fields of [Config] are the manual: units, ranges, defaults.
//
// # How a file is read
//
// A file is YAML, TOML or JSON. It is parsed once, into a tree in which each value has its place and its source text
// (node.go; yaml.go, toml.go and json.go make it). Flags and environment variables replace values in that tree
// (overlay.go, with viper). Then the tree is decoded into Config (decode.go, led by the tags of the fields), and what no
// single value can tell is checked (validate.go).
//
// # Bytes values
//
// A bytes value, such as a terminator, is a name (LF), hex (0x1C0D) or text; see [codecs.ParseBytes]. Its source text
// counts, not what the format would make of it:
//
//	YAML    terminator: 0x0B      one byte, not the number 11
//	YAML    terminator: 0012      four digits, not the number 10
//	YAML    terminator: ~         a tilde, not null
//	JSON    "terminator": 11      an error: JSON and TOML quote bytes values
//
// # Options
//
// The options of a codec are kept as they were written until the plugin's schema is known, which may be that of another
// program. [Codec.OptionsJSON] then makes JSON of them, and [Codec.PlaceOptionError] finds the places that a plugin's
// complaints are about.
package config
