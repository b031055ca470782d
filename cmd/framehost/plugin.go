package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/framehost/framehost/host/config"
	"github.com/framehost/framehost/host/plugins"
)

func newPlugin() *cobra.Command {
	return newGroup(&cobra.Command{
		Use:   "plugin",
		Short: "List codec plugins, or describe one and its options",
	}, newPluginList(), newPluginDescribe())
}

func newPluginList() *cobra.Command {
	var s source
	cmd := &cobra.Command{
		Use:   "list [-c FILE]",
		Short: "List the plugins that are built in, and those of a configuration",
		Long: `List the plugins that are built in and, with a configuration, those that it names. The plugins of a configuration are
started to get their version and description; the exit code is 1 if one does not start.`,
		Example: `  framehost plugin list
  framehost plugin list -c relay.yaml`,
		Args: arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := s.load(cmd.Context())
			if err != nil {
				return err
			}
			return listPlugins(cmd.Context(), c, cmd.OutOrStdout())
		},
	}
	s.fileFlag(cmd, "the configuration `FILE`")
	return cmd
}

func listPlugins(ctx context.Context, c *config.Config, out io.Writer) (err error) {
	t := newTable(out, "NAME", "VERSION", "PROGRAM", "CODEC")
	for _, codec := range builtins {
		info := codec.Info()
		t.row(info.Name, info.Version, "built in", info.Description)
	}
	s := plugins.Open(c, nil)
	defer func() { err = errors.Join(err, failed(s.Close())) }()
	for i := range c.Plugins {
		program := &c.Plugins[i]
		p, failure := s.Plugin(ctx, program.Name)
		if failure != nil {
			t.row(program.Name, "", program.Path, "does not start")
			err = errors.Join(err, failed(failure))
			continue
		}
		info := p.Description().Info
		t.row(program.Name, info.Version, program.Path, info.Description)
	}
	return errors.Join(failed(t.Flush()), err)
}

func newPluginDescribe() *cobra.Command {
	var (
		s      source
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "describe NAME [-c FILE]",
		Short: "Show a plugin's options with their types and defaults",
		Long: `Start a plugin, which is built in or named in a configuration, and show its version, the data plane by which
payloads travel to it, and its options with their types and defaults. With --json, the options are a JSON Schema.`,
		Example: `  framehost plugin describe lenprefix
  framehost plugin describe cobs -c relay.yaml --json`,
		Args:              arguments(1, 1),
		ValidArgsFunction: s.completePlugins,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := s.load(cmd.Context())
			if err != nil {
				return err
			}
			return describePlugin(cmd.Context(), c, args[0], asJSON, cmd.OutOrStdout())
		},
	}
	s.fileFlag(cmd, "the configuration `FILE` that names it")
	cmd.Flags().BoolVar(&asJSON, "json", false, "as JSON, with the options' JSON Schema")
	return cmd
}

// completePlugins offers the built-in plugins and, if the file has no errors, its plugins to a shell.
func (s *source) completePlugins(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	names := builtinNames()
	if c, err := s.load(cmd.Context()); err == nil {
		names = append(names, pluginNames(c)...)
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

func pluginNames(c *config.Config) []string {
	var names []string
	for _, p := range c.Plugins {
		names = append(names, p.Name)
	}
	return names
}

// pluginJSON is a plugin as describe --json prints it.
type pluginJSON struct {
	Name        string          `json:"name"`
	Version     string          `json:"version"`
	Description string          `json:"description"`
	Path        string          `json:"path"`                        // "" for one that is built in
	DataPlane   string          `json:"data_plane"`                  // grpc or shm
	Reason      string          `json:"data_plane_reason,omitempty"` // "" if the configuration names the data plane
	Options     json.RawMessage `json:"options_schema"`
}

func describePlugin(ctx context.Context, c *config.Config, name string, asJSON bool, out io.Writer) (err error) {
	if known := append(builtinNames(), pluginNames(c)...); !slices.Contains(known, name) {
		return fmt.Errorf("unknown plugin %q, want one of %s; other programs are named in a configuration (-c FILE)",
			name, strings.Join(known, ", "))
	}
	s := plugins.Open(c, nil)
	defer func() { err = errors.Join(err, failed(s.Close())) }()
	p, err := s.Plugin(ctx, name)
	if err != nil {
		return failed(err)
	}
	d, status := p.Description(), p.Status()
	path := p.Spec().Path
	if err := config.CheckSchema(d.Schema); err != nil {
		return failed(fmt.Errorf("plugin %s: the schema of its options: %w", name, err))
	}
	if asJSON {
		return failed(printJSON(out, pluginJSON{
			name, d.Info.Version, d.Info.Description, path, status.DataPlane, status.DataPlaneReason, d.Schema}))
	}
	if path == "" {
		path = "built in"
	}
	fmt.Fprintf(out, "%s %s (%s)\n%s\n", name, printableText(d.Info.Version), path, printableText(d.Info.Description))
	fmt.Fprintf(out, "data plane: %s\n", dataPlane(status.DataPlane, status.DataPlaneReason))
	options, err := readOptions(d.Schema)
	if err != nil {
		return failed(fmt.Errorf("plugin %s: the schema of its options: %w", name, err))
	}
	for _, o := range options {
		fmt.Fprintf(out, "\n%s\n", o)
	}
	return nil
}
