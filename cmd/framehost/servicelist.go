package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/framehost/framehost/host/discovery"
)

// A serviceList prints services as they are announced, as rows or as JSON objects. A row can't wait for the widths of later rows, so the
// columns have fixed widths that fit most services.
type serviceList struct {
	w      io.Writer
	asJSON bool
	watch  bool // also print changes other than new services
	shown  int
}

func newServiceList(w io.Writer, asJSON, watch bool) *serviceList {
	return &serviceList{w: w, asJSON: asJSON, watch: watch}
}

// A foundService is a service as it is printed as JSON. Fields are added, not changed.
type foundService struct {
	Change    string            `json:"change"` // appeared, updated, left, expired
	Time      time.Time         `json:"time"`
	Service   string            `json:"service"`
	Network   string            `json:"network"`   // tcp, tls, udp
	Addresses []string          `json:"addresses"` // IP:PORT, best first
	Codec     string            `json:"codec"`     // "" if the announcement has none
	Labels    map[string]string `json:"labels"`
	ID        string            `json:"id"`
	Origin    string            `json:"origin"` // IP:PORT that sent the announcement
	Interface string            `json:"interface"`
	Signed    bool              `json:"signed"` // with our key
}

// change prints c, which happened now.
func (l *serviceList) change(c discovery.Change, now time.Time) error {
	if !l.watch && c.Kind != discovery.Appeared {
		return nil
	}
	l.shown++
	if l.asJSON {
		return l.object(c, now)
	}
	return l.row(c, now)
}

func (l *serviceList) object(c discovery.Change, now time.Time) error {
	f := &c.Found
	labels := f.Labels
	if labels == nil {
		labels = map[string]string{}
	}
	e := json.NewEncoder(l.w)
	e.SetEscapeHTML(false)
	return e.Encode(foundService{
		Change: c.Kind.String(), Time: now.UTC(), Service: f.Name, Network: f.Network.String(), Addresses: hostPorts(f), Codec: f.Codec,
		Labels: labels, ID: f.ID.String(), Origin: f.Origin.Address.String(), Interface: f.Origin.Interface, Signed: f.Signed,
	})
}

func (l *serviceList) row(c discovery.Change, now time.Time) error {
	f := &c.Found
	address := f.Network.String() + "://" + strings.Join(hostPorts(f), ",")
	cells := []string{f.Name, address, f.Codec, f.Origin.Interface, labelsText(f.Labels)}
	headings := []string{"SERVICE", "ADDRESS", "CODEC", "INTERFACE", "LABELS"}
	if l.watch {
		cells = slices.Insert(cells, 0, now.Format(time.TimeOnly), c.Kind.String())
		headings = slices.Insert(headings, 0, "TIME", "CHANGE")
	}
	if l.shown == 1 {
		if err := l.columns(headings); err != nil {
			return err
		}
	}
	return l.columns(cells)
}

// columns prints a row of text. An empty cell is shown as a hyphen.
func (l *serviceList) columns(cells []string) error {
	widths := []int{16, 28, 14, 9}
	if l.watch {
		widths = slices.Insert(widths, 0, 8, 8)
	}
	var b strings.Builder
	for i, cell := range cells {
		if cell == "" {
			cell = "-"
		}
		if i < len(widths) {
			cell = fmt.Sprintf("%-*s  ", widths[i], cell)
		}
		b.WriteString(cell)
	}
	_, err := fmt.Fprintln(l.w, strings.TrimRight(b.String(), " "))
	return err
}

func hostPorts(f *discovery.Found) []string {
	texts := make([]string, len(f.Addresses))
	for i, a := range f.Addresses {
		texts[i] = a.String()
	}
	return texts
}

// labelsText lists labels in the order of their keys. It quotes values that could not be parsed otherwise.
func labelsText(labels map[string]string) string {
	var all []string
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		all = append(all, plainOrQuoted(key)+"="+plainOrQuoted(labels[key]))
	}
	return strings.Join(all, " ")
}

func plainOrQuoted(text string) string {
	if text == "" || strings.ContainsAny(text, " =\"") {
		return strconv.Quote(text)
	}
	return text
}
