package config

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"sync"

	"github.com/framehost/framehost/codecs"
)

// Profile is a ready set of options of a plugin, right for a known protocol.
type Profile struct {
	At Position `config:"-"`
	// Name is what configurations call it.
	Name string `config:"name" required:"ok"`
	// Plugin is a plugin that is built in.
	Plugin string `config:"plugin" required:"ok"`
	// Options are the plugin's.
	Options Options `config:"options"`
	// MaxFrame is the longest payload that the protocol knows. 0: it doesn't say.
	MaxFrame Size `config:"max_frame" range:"1B..1GiB"`
	// Description is one line: the layout.
	Description string `config:"description" required:"ok"`
	// Source is the document that the layout is from.
	Source string `config:"source" required:"ok"`
	// Scope says what the profile is not for. "": no more than it seems.
	Scope string `config:"scope"`
	// Examples have the exact bytes of frames. There is at least one.
	Examples []Example `config:"examples" required:"ok"`
}

// Example is one payload and its frame.
type Example struct {
	At Position `config:"-"`
	// Payload is the payload.
	Payload codecs.Bytes `config:"payload" required:"ok" empty:"ok"`
	// Wire is its frame.
	Wire codecs.Bytes `config:"wire" required:"ok"`
	// DecodeOnly: the encoder may write other bytes that mean the same.
	DecodeOnly bool `config:"decode_only"`
	// Note says where the bytes are from, or what they show.
	Note string `config:"note"`
}

const profilesFile = "profiles.yaml"

//go:embed profiles.yaml
var profilesData []byte

var profiles = sync.OnceValue(func() []Profile {
	all, errs := readProfiles(profilesData)
	if len(errs) > 0 {
		panic("config: " + errs.Error()) // the file is part of this program, and tested
	}
	return all
})

func readProfiles(data []byte) ([]Profile, Errors) {
	root, errs := read(profilesFile, "yaml", data)
	if len(errs) > 0 {
		return nil, errs
	}
	var file struct {
		Profiles []Profile `config:"profiles" required:"ok"`
	}
	d := &decoder{positions: map[string]Position{}, defaults: func(reflect.Value) {}}
	d.structure(root, "", reflect.ValueOf(&file).Elem())
	d.errs.sort()
	return file.Profiles, d.errs
}

// Profiles returns all profiles, in the order of their file, which puts kin together. The slice is the caller's.
func Profiles() []Profile { return slices.Clone(profiles()) }

// LookupProfile returns the profile of that name.
func LookupProfile(name string) (*Profile, bool) {
	for _, p := range profiles() {
		if p.Name == name {
			return &p, true
		}
	}
	return nil, false
}

// Codec returns a codec of that name with the profile's options.
func (p *Profile) Codec(name string) *Codec {
	c := &Codec{At: Position{File: name}, Name: name, Profile: p.Name}
	c.use(p)
	return c
}

// OptionsJSON returns the options as a JSON object; see [Codec.OptionsJSON].
func (p *Profile) OptionsJSON(schema json.RawMessage) (json.RawMessage, error) {
	return p.Codec(fmt.Sprintf("profile %s", p.Name)).OptionsJSON(schema)
}
