package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/framehost/framehost/host/config"
)

func newConfig() *cobra.Command {
	return newGroup(&cobra.Command{
		Use:   "config",
		Short: "Begin a configuration, or describe its form",
	}, newConfigInit(), newConfigSchema())
}

func newConfigInit() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "init [-o FILE]",
		Short: "Print a commented configuration to begin with",
		Example: `  framehost config init -o relay.yaml
  framehost check -c relay.yaml`,
		Args: arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if file == "" {
				_, err := cmd.OutOrStdout().Write(config.StarterYAML)
				return failed(err)
			}
			return writeNew(file, config.StarterYAML)
		},
	}
	cmd.Flags().StringVarP(&file, "output", "o", "", "write `FILE`, which must not exist yet")
	_ = cmd.MarkFlagFilename("output", "yaml", "yml") // fails for unknown flags only
	return cmd
}

// writeNew writes a file that must not exist.
func writeNew(file string, data []byte) error {
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if os.IsExist(err) {
		return fmt.Errorf("%s exists already, and is left as it is", file)
	}
	if err != nil {
		return failed(err)
	}
	if _, err := f.Write(data); err != nil {
		_ = f.Close()
		return failed(err)
	}
	return failed(f.Close())
}

func newConfigSchema() *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "Print the JSON Schema of a configuration, for editors",
		Long: `Print the JSON Schema of a configuration. Editors mark mistakes and complete keys with it. It knows keys,
types and choices; framehost check knows more.`,
		Example: `  framehost config schema > framehost.schema.json
  # and as the first line of relay.yaml, for the YAML language server:
  # yaml-language-server: $schema=framehost.schema.json`,
		Args: arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := cmd.OutOrStdout().Write(config.Schema())
			return failed(err)
		},
	}
}
