package config

// Options are the options of a codec as they were written, with their places. They are opaque until the plugin's schema is
// known; see [Codec.OptionsJSON]. The zero value has no options.
type Options struct{}
