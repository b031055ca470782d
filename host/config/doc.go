// Package config reads framehost's configuration: a file of plugins, codecs and routes, some of whose values environment variables
// and flags can override. It validates the whole configuration and reports all errors at once, each with its position:
//
//	relay.yaml:7:19: routes[0].from.listen: got "tcp://scale", want a port, such as tcp://0.0.0.0:7001
//	FRAMEHOST_LIMITS_MAX_FRAME: limits.max_frame: got "10", want a size with its unit, such as 10B or 10KiB
//
// The comments of the fields of [Config] are the manual: units, ranges, defaults.
//
// # How a file is read
//
// A file is YAML, TOML or JSON. It is parsed once (yaml.go, toml.go, json.go) into a tree in which each value has its position and its
// source text (node.go). Flags and environment variables replace values in that tree (overlay.go, with viper). The tree is then decoded
// into Config according to the tags of the fields (decode.go). Last come the checks that need more than one value (validate.go).
//
// # Bytes values
//
// A bytes value, such as a terminator, is a name (LF), hex (0x1C0D) or text; see [codecs.ParseBytes]. Its source text counts, not the
// value that the format gives to that text:
//
//	YAML    terminator: 0x0B      one byte, not the number 11
//	YAML    terminator: 0012      four digits, not the number 10
//	YAML    terminator: ~         a tilde, not null
//	JSON    "terminator": 11      an error: JSON and TOML quote bytes values
//
// # Options
//
// The options of a codec stay as they were written until the schema of the plugin, which may be another program, is known.
// [Codec.OptionsJSON] then converts them to JSON, and [Codec.PlaceOptionError] finds the positions of the options that a plugin
// refuses.
package config
