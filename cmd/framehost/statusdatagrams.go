package main

import (
	"fmt"
	"io"

	"github.com/framehost/framehost/host/control"
)

// printDatagrams writes what the system did with the datagrams of each endpoint that has any.
func printDatagrams(w io.Writer, routes []control.RouteStatus) error {
	t := newTable(w, "DATAGRAMS", "ROUTE", "SENT", "NOT SENT", "DROPPED BY SYSTEM", "CUT", "ELSEWHERE", "STRANGERS")
	some := false
	for _, r := range routes {
		var all []control.DatagramStatus
		if r.Hub != nil {
			all = r.Hub.Datagrams
		}
		if r.Flows != nil {
			all = append(all, r.Flows.Datagrams)
		}
		for _, d := range all {
			some = true
			t.row(d.Endpoint, r.Name, d.CopiesSent, d.CopiesNotSent, d.DroppedBySystem, d.Truncated, d.Elsewhere, d.Strangers)
		}
	}
	if !some {
		return nil
	}
	fmt.Fprintln(w)
	return t.Flush()
}
