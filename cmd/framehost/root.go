package main

import (
	"github.com/spf13/cobra"
)

func newRoot() *cobra.Command {
	root := newGroup(&cobra.Command{
		Use:   "framehost",
		Short: "Relay strings between systems that frame them differently",
		Long: `framehost carries strings between endpoints that frame them differently: what one side ends
with a newline the other wants after a four-digit length. The framings are codec plugins, which
run as processes of their own and are chosen for each connection by a page of YAML.

  framehost demo                       see it work
  framehost run                        a relay with an embedded default configuration
  framehost config init -o relay.yaml  begin a configuration of your own
  framehost check -c relay.yaml        check it
  framehost run -c relay.yaml          run it

Exit codes: 0; 1 failed while running; 2 usage or configuration; 3 a fault in encode, decode or send.`,
		Version:       versionLine(),
		SilenceErrors: true,
		SilenceUsage:  true,
	},
		newRun(), newStatus(), newViolations(), newDrain(), newCheck(), newConfig(), newProfiles(), newPlugin(), newVersion(),
		newEncode(), newDecode(), newExplain(), newSend(), newDiscover(), newDemo(),
	)
	root.SetVersionTemplate("{{.Version}}\n")
	root.SetFlagErrorFunc(flagError)
	root.InitDefaultCompletionCmd()
	for _, cmd := range root.Commands() {
		if cmd.Name() == "completion" {
			refuseOthers(cmd, "a shell")
		}
	}
	return root
}
