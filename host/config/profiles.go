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

// Profile is a ready set of plugin options that suits a known protocol.
type Profile struct {
	At Position `config:"-"`
	// Name is the name that configurations use for the profile.
	Name string `config:"name" required:"ok"`
	// Plugin is the name of a built-in plugin.
	Plugin string `config:"plugin" required:"ok"`
	// Options are the options of the plugin.
	Options Options `config:"options"`
	// MaxFrame is the longest payload that the protocol allows, in bytes. 0 means that the protocol sets no limit.
	MaxFrame Size `config:"max_frame" range:"1B..1GiB"`
	// Description is the layout of a frame, in one line.
	Description string `config:"description" required:"ok"`
	// Source is the document that defines the layout.
	Source string `config:"source" required:"ok"`
	// Scope says which uses of the protocol the profile does not cover. "" means that it covers all.
	Scope string `config:"scope"`
	// Examples have the exact bytes of frames. There is at least one.
	Examples []Example `config:"examples" required:"ok"`
}

// Example is one payload and its frame.
type Example struct {
	At Position `config:"-"`
	// Payload is the payload.
	Payload codecs.Bytes `config:"payload" required:"ok" empty:"ok"`
	// Wire is the frame that holds the payload.
	Wire codecs.Bytes `config:"wire" required:"ok"`
	// DecodeOnly means that the encoder may write another frame for the payload.
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

// Profiles returns all profiles in the order of their file, in which similar profiles stand together. The caller owns the slice.
func Profiles() []Profile { return slices.Clone(profiles()) }

// LookupProfile returns the profile called name, and whether there is one.
func LookupProfile(name string) (*Profile, bool) {
	for _, p := range profiles() {
		if p.Name == name {
			return &p, true
		}
	}
	return nil, false
}

// Codec returns a codec called name with the profile's options.
func (p *Profile) Codec(name string) *Codec {
	c := &Codec{At: Position{File: name}, Name: name, Profile: p.Name}
	c.applyProfile(p)
	return c
}

// OptionsJSON returns the options as a JSON object; see [Codec.OptionsJSON].
func (p *Profile) OptionsJSON(schema json.RawMessage) (json.RawMessage, error) {
	return p.Codec(fmt.Sprintf("profile %s", p.Name)).OptionsJSON(schema)
}
