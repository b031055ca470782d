package config

import (
	"fmt"
	"slices"
)

// sideKey returns the key of side i, in the order of Sides, relative to the key of the route.
func (r *Route) sideKey(i int) string {
	switch {
	case i == 0:
		return ".from"
	case r.toIsList:
		return itemKey(".to", i-1)
	default:
		return ".to"
	}
}

// sides checks the endpoints of a route against each other.
func (v *validator) sides(r *Route, key string) {
	sides := r.Sides()
	for i, e := range sides {
		if side := key + r.sideKey(i); e.At.Key != side || e.Address() == nil {
			return // without all endpoints and addresses, the kind of the route is not known
		}
	}
	hub := r.IsHub()
	for i, e := range sides {
		side := key + r.sideKey(i)
		if hub {
			v.member(e, side)
		} else {
			v.paired(e, side)
		}
		if at := side + ".udp.flows"; v.has(at) && e.Datagrams() {
			switch {
			case e.Listen == nil:
				v.addError(v.at(at), "flows", "them only where framehost listens")
			case i > 0:
				v.addError(v.at(at), "flows", "them only in from")
			case hub:
				v.addError(v.at(at), "flows in a hub", "them only where to dials and is no list")
			}
		}
	}
	if !hub {
		v.unframed(r, key)
	}
	v.useless(r, key)
}

// member checks an endpoint of a hub.
func (v *validator) member(e *Endpoint, key string) {
	if e.Codec == NoCodec && !e.Datagrams() {
		v.addError(v.at(key+".codec"), quote(NoCodec)+" in a hub", "a codec: a hub passes on frames, and a stream without codec has none")
	}
	if at := key + ".queue"; v.has(at) && e.Direction == Receive {
		v.addError(v.at(at), "queue", "it only where framehost writes: this side only receives")
	}
	if e.Echo && e.Direction != Both {
		v.addError(v.at(key+".echo"), "echo", "it only where framehost both receives and sends")
	}
}

// paired checks an endpoint of a paired route.
func (v *validator) paired(e *Endpoint, key string) {
	const want = "it only in a hub: where to listens or is a list, or with datagrams without flows"
	if v.has(key + ".queue") {
		v.addError(v.at(key+".queue"), "queue", want)
	}
	if e.Echo {
		v.addError(v.at(key+".echo"), "echo", want)
	}
}

// unframed checks which sides of a paired route have no codec.
func (v *validator) unframed(r *Route, key string) {
	from, to := &r.From, &r.To
	if from.Codec == "" || to.Codec == "" {
		return
	}
	switch {
	case !from.Datagrams() && !to.Datagrams():
		if (from.Codec == NoCodec) != (to.Codec == NoCodec) {
			v.addError(v.at(key+".to.codec"), quote(to.Codec), fmt.Sprintf("codec none on both sides or on neither; %s.from.codec is %s",
				key, from.Codec))
		}
	case !to.Datagrams() && to.Codec == NoCodec:
		v.addError(v.at(key+".to.codec"), quote(NoCodec), "a codec: without one, a stream does not keep datagrams apart")
	}
}

// useless reports a route whose directions let no payload flow.
func (v *validator) useless(r *Route, key string) {
	sides := r.Sides()
	first := sides[0].Direction
	if first == Both || slices.ContainsFunc(sides, func(e *Endpoint) bool { return e.Direction != first }) {
		return
	}
	last := len(sides) - 1
	what := map[Direction]string{Receive: "is written to", Send: "is listened to"}[first]
	where := "on both sides"
	if last > 1 {
		where = "on all sides"
	}
	at := key + r.sideKey(last) + ".direction"
	v.addError(v.at(at), fmt.Sprintf("%q %s", string(first), where), "a direction in which payloads can flow: no side "+what)
}

// A listener is an endpoint with listen.
type listener struct {
	endpoint *Endpoint
	key      string
}

// listeners checks that no two endpoints listen at the same address, unless they can share it.
func (v *validator) listeners() {
	var seen []listener
	for i := range v.config.Routes {
		r := &v.config.Routes[i]
		for j, e := range r.Sides() {
			if e.Listen == nil {
				continue
			}
			l := listener{e, itemKey("routes", i) + r.sideKey(j) + ".listen"}
			for _, other := range seen {
				if collide(e.Listen, other.endpoint.Listen) && !shared(e, other.endpoint) {
					v.addError(v.at(l.key), quote(e.Listen.String()), "a place that "+other.key+" does not listen at")
					break
				}
			}
			seen = append(seen, l)
		}
	}
}

func collide(a, b *Address) bool {
	if a.Scheme != b.Scheme {
		return false
	}
	if a.Scheme == "unix" {
		return a.Path == b.Path
	}
	all := func(host string) bool { return slices.Contains([]string{"", everyone, "0.0.0.0", "::"}, host) }
	return a.Port == b.Port && a.Port != 0 && (a.Host == b.Host || all(a.Host) || all(b.Host))
}

// shared reports whether a and b can listen at the same address: both are for datagrams and have no flows. Both get all broadcast and
// multicast datagrams. With flows, a datagram of a flow could go to the wrong one.
func shared(a, b *Endpoint) bool {
	return a.Datagrams() && a.UDP.Flows == nil && b.UDP.Flows == nil
}
