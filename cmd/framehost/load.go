package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/framehost/framehost/host/config"
)

// A source is the configuration of a command: a file, or the embedded default if file is empty, with the values that flags set.
type source struct {
	file string
	set  []string
}

// fileFlag adds the flag -c.
func (s *source) fileFlag(cmd *cobra.Command, usage string) {
	cmd.Flags().StringVarP(&s.file, "config", "c", "", usage)
	_ = cmd.MarkFlagFilename("config", "yaml", "yml", "json", "toml") // fails for unknown flags only
}

// setFlag adds the flag --set.
func (s *source) setFlag(cmd *cobra.Command) {
	cmd.Flags().StringArrayVar(&s.set, "set", nil,
		"set one value of the configuration: `KEY=VALUE`, such as limits.max_frame=2MiB; repeatable")
}

// load reads the configuration; each call reads it anew.
func (s *source) load(ctx context.Context) (*config.Config, error) {
	options := config.LoadOptions{Set: s.set, Env: true, Builtin: builtinNames()}
	if s.file != "" {
		return config.Load(ctx, s.file, options)
	}
	c, err := config.Parse(config.DefaultFile, "yaml", config.DefaultYAML, options)
	if err != nil {
		return nil, err
	}
	c.File = "" // the embedded default is not a file that the user could read
	return c, nil
}

// errEmpty returns the error for a configuration without routes, such as an empty file.
func errEmpty(c *config.Config) error {
	return config.Errors{config.Position{File: c.File}.Error("no routes",
		"one at least; `framehost config init` prints a configuration to begin with")}
}

// loadRoutes is like load, for a configuration that is to run: it requires routes.
func (s *source) loadRoutes(ctx context.Context) (*config.Config, error) {
	c, err := s.load(ctx)
	if err == nil && len(c.Routes) == 0 {
		return nil, errEmpty(c)
	}
	return c, err
}

// wrongOrFailed returns err as an error of the configuration if it has positions in the file, and otherwise as a failure while running.
func wrongOrFailed(err error) error {
	if errors.As(err, new(config.Errors)) {
		return err
	}
	return failed(err)
}
