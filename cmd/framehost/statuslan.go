package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/framehost/framehost/host/control"
)

// printDiscovery writes the announcements of routes, and the services that routes know, if there are any.
func printDiscovery(w io.Writer, s *control.Status, now time.Time) error {
	d := s.Discovery
	if d == nil {
		return nil
	}
	fmt.Fprintf(w, "\ndiscovery on port %d: %s sent, %d received%s\n", d.Port, count(int(d.Sent), "packet"), d.Received, ignored(d))
	return errors.Join(printAnnounced(w, s.Routes), printServices(w, s.Routes, now))
}

// ignored describes how many packets were ignored, by reason.
func ignored(d *control.DiscoveryStatus) string {
	var all []string
	for _, one := range []struct {
		n    int64
		what string
	}{
		{d.SendFailed, "not sent everywhere"}, {d.Unsigned, "not signed"}, {d.Forged, "signed with another key"},
		{d.Malformed, "malformed"}, {d.OtherVersions, "of another version"}, {d.OffLink, "from beyond the LAN"},
	} {
		if one.n > 0 {
			all = append(all, fmt.Sprintf("%d %s", one.n, one.what))
		}
	}
	if all == nil {
		return ""
	}
	return "; " + strings.Join(all, ", ")
}

func printAnnounced(w io.Writer, routes []control.RouteStatus) error {
	if !slices.ContainsFunc(routes, func(r control.RouteStatus) bool { return len(r.Announced) > 0 }) {
		return nil
	}
	fmt.Fprintln(w)
	t := newTable(w, "ANNOUNCED", "ROUTE", "PORT", "ADDRESSES", "PACKETS", "QUERIES", "ANSWERS")
	for _, r := range routes {
		for i := range r.Announced {
			a := &r.Announced[i]
			place := fmt.Sprintf("%s %d", a.Network, a.Port)
			t.row(a.Service, r.Name, place, strings.Join(a.Addresses, ","), a.Announced, a.Queries, a.Answers)
		}
	}
	return t.Flush()
}

func printServices(w io.Writer, routes []control.RouteStatus, now time.Time) error {
	if !slices.ContainsFunc(routes, func(r control.RouteStatus) bool { return len(r.Services) > 0 }) {
		return nil
	}
	fmt.Fprintln(w)
	t := newTable(w, "KNOWN", "ROUTE", "ADDRESSES", "CODEC", "INTERFACE", "LABELS", "SIGNED", "EXPIRES IN")
	for _, r := range routes {
		for i := range r.Services {
			s, signed := &r.Services[i], "no"
			if s.Signed {
				signed = "yes"
			}
			t.row(s.Service, r.Name, s.Network+"://"+strings.Join(s.Addresses, ","), s.Codec, s.Interface, labelsText(s.Labels), signed,
				max(s.Expires.Sub(now), 0).Round(time.Second))
		}
	}
	return t.Flush()
}
