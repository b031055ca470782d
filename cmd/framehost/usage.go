package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
)

// newGroup makes cmd a command that has only subcommands: without arguments it prints its help, and any word that is not a
// subcommand is an error.
func newGroup(cmd *cobra.Command, below ...*cobra.Command) *cobra.Command {
	cmd.SuggestionsMinimumDistance = 2
	cmd.DisableFlagsInUseLine = true
	cmd.Args = cobra.ArbitraryArgs
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return cmd.Help()
		}
		hint := ""
		if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
			hint = fmt.Sprintf("; did you mean %s?", strings.Join(near, " or "))
		}
		return fmt.Errorf("unknown command %q%s\n%s", args[0], hint, seeHelp(cmd))
	}
	cmd.AddCommand(below...)
	return cmd
}

// arguments requires at least least and at most most arguments; most < 0 means no upper limit.
func arguments(least, most int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) >= least && (most < 0 || len(args) <= most) {
			return nil
		}
		got := "no argument"
		if len(args) > 0 {
			got = fmt.Sprintf("%s (%s)", count(len(args), "argument"), strings.Join(args, " "))
		}
		hint := ""
		if last := len(args) - 1; last >= 0 && last == most && cmd.Flags().ShorthandLookup("c") != nil && isFile(args[last]) {
			hint = fmt.Sprintf("; did you mean -c %s?", args[last])
		}
		return fmt.Errorf("%s: got %s, want: %s%s\n%s", cmd.Name(), got, cmd.UseLine(), hint, seeHelp(cmd))
	}
}

// refuseOthers makes cmd, which has only subcommands, refuse all other words.
func refuseOthers(cmd *cobra.Command, what string) {
	cmd.Args = cobra.ArbitraryArgs
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return cmd.Help()
		}
		var names []string
		for _, below := range cmd.Commands() {
			names = append(names, below.Name())
		}
		return fmt.Errorf("%s: got %q, want %s: one of %s\n%s", cmd.Name(), args[0], what, strings.Join(names, ", "), seeHelp(cmd))
	}
}

// isFile reports whether an argument was probably meant as a configuration file.
func isFile(arg string) bool {
	switch filepath.Ext(arg) {
	case ".yaml", ".yml", ".toml", ".json":
		return true
	}
	info, err := os.Stat(arg)
	return err == nil && info.Mode().IsRegular()
}

// flagError adds to cobra's error about a flag the command, and how to get its help.
func flagError(cmd *cobra.Command, err error) error {
	if !cmd.HasParent() {
		return fmt.Errorf("%w\n%s", err, seeHelp(cmd))
	}
	return fmt.Errorf("%s: %w\n%s", cmd.Name(), err, seeHelp(cmd))
}

func seeHelp(cmd *cobra.Command) string { return fmt.Sprintf("see: %s --help", cmd.CommandPath()) }

// A choice is a flag that has one of several values, or none.
type choice struct {
	value string
	among []string
}

func (c *choice) String() string { return c.value }
func (c *choice) Type() string   { return strings.Join(c.among, "|") }

func (c *choice) Set(value string) error {
	for _, one := range c.among {
		if one == value {
			c.value = value
			return nil
		}
	}
	return fmt.Errorf("want one of %s", strings.Join(c.among, ", "))
}

// complete offers the choices to a shell.
func (c *choice) complete(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return c.among, cobra.ShellCompDirectiveNoFileComp
}
