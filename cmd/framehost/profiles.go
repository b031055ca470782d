package main

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/framehost/framehost/codecs"
	"github.com/framehost/framehost/host/config"
)

func newProfiles() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "profiles [NAME]",
		Short: "List the framings of known protocols, or show one with its bytes",
		Long: `List the profiles: framings of known protocols, ready to be named in a configuration. With a NAME, show what
it stands for, where its layout is from, and frames with their exact bytes.`,
		Example: `  framehost profiles
  framehost profiles mllp
  framehost profiles --json`,
		Args:              arguments(0, 1),
		ValidArgsFunction: completeProfiles,
		RunE: func(cmd *cobra.Command, args []string) error {
			out := cmd.OutOrStdout()
			if len(args) == 0 {
				return listProfiles(out, asJSON)
			}
			p, ok := config.LookupProfile(args[0])
			if !ok {
				return unknownProfile(args[0])
			}
			return showProfile(out, p, asJSON)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "as JSON, with options and bytes")
	return cmd
}

func unknownProfile(name string) error {
	if near := config.Nearest(name, profileNames()); near != "" {
		return fmt.Errorf("unknown profile %q; did you mean %s?", name, near)
	}
	return fmt.Errorf("unknown profile %q; see: framehost profiles", name)
}

func profileNames() []string {
	var names []string
	for _, p := range config.Profiles() {
		names = append(names, p.Name)
	}
	return names
}

func completeProfiles(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return profileNames(), cobra.ShellCompDirectiveNoFileComp
}

// profileJSON is a profile as --json prints it. Payloads and wire are hex.
type profileJSON struct {
	Name        string          `json:"name"`
	Plugin      string          `json:"plugin"`
	Options     json.RawMessage `json:"options"`
	MaxFrame    int64           `json:"max_frame,omitempty"`
	Description string          `json:"description"`
	Source      string          `json:"source"`
	Scope       string          `json:"scope,omitempty"`
	Examples    []exampleJSON   `json:"examples"`
}

type exampleJSON struct {
	Payload    string `json:"payload_hex"`
	Wire       string `json:"wire_hex"`
	DecodeOnly bool   `json:"decode_only,omitempty"`
	Note       string `json:"note,omitempty"`
}

func toProfileJSON(p *config.Profile) (*profileJSON, error) {
	options, err := profileOptions(p)
	if err != nil {
		return nil, err
	}
	out := &profileJSON{
		Name: p.Name, Plugin: p.Plugin, Options: options, MaxFrame: int64(p.MaxFrame),
		Description: p.Description, Source: p.Source, Scope: p.Scope,
	}
	for _, e := range p.Examples {
		out.Examples = append(out.Examples, exampleJSON{
			Payload: hex.EncodeToString([]byte(e.Payload)), Wire: hex.EncodeToString([]byte(e.Wire)),
			DecodeOnly: e.DecodeOnly, Note: e.Note,
		})
	}
	return out, nil
}

// profileOptions returns the options that a profile sets.
func profileOptions(p *config.Profile) (json.RawMessage, error) {
	codec, ok := builtinCodec(p.Plugin)
	if !ok {
		return nil, fmt.Errorf("profile %s: plugin %s is not built in", p.Name, p.Plugin)
	}
	return p.OptionsJSON(codec.Schema())
}

func listProfiles(w io.Writer, asJSON bool) error {
	profiles := config.Profiles()
	if !asJSON {
		t := newTable(w, "NAME", "PLUGIN", "WHAT")
		for i := range profiles {
			t.row(profiles[i].Name, profiles[i].Plugin, profiles[i].Description)
		}
		return failed(t.Flush())
	}
	var all []*profileJSON
	for i := range profiles {
		p, err := toProfileJSON(&profiles[i])
		if err != nil {
			return err
		}
		all = append(all, p)
	}
	return failed(printJSON(w, all))
}

func showProfile(w io.Writer, p *config.Profile, asJSON bool) error {
	if asJSON {
		one, err := toProfileJSON(p)
		if err != nil {
			return err
		}
		return failed(printJSON(w, one))
	}
	options, err := profileOptions(p)
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "%s: %s\n\n", p.Name, p.Description)
	fmt.Fprintf(w, "  plugin     %s\n  options    %s\n", p.Plugin, options)
	if p.MaxFrame > 0 {
		fmt.Fprintf(w, "  max_frame  %s\n", p.MaxFrame)
	}
	fmt.Fprintf(w, "  source     %s\n", p.Source)
	if p.Scope != "" {
		fmt.Fprintf(w, "  scope      %s\n", p.Scope)
	}
	for _, e := range p.Examples {
		fmt.Fprintf(w, "\n%s\n", exampleTitle(&e))
		fmt.Fprintf(w, "  payload    %s\n  wire       %s\n", shown(e.Payload), shown(e.Wire))
	}
	return nil
}

func exampleTitle(e *config.Example) string {
	title := "example"
	if e.DecodeOnly {
		title += " that is accepted, and written otherwise"
	}
	if e.Note != "" {
		title += ": " + e.Note
	}
	return title
}

// shown returns b as text and, on the next line, in hex.
func shown(b codecs.Bytes) string {
	if b == "" {
		return `""`
	}
	return fmt.Sprintf("%q\n%s", string(b), wrapped(fmt.Sprintf("% X", string(b)), "             ", 109))
}
