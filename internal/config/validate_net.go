package config

import (
	"fmt"
	"net/netip"
	"strings"

	"mailweir/mail"
)

// socket is a listening address with the path of its value.
type socket struct {
	path       string
	addr, host string
	port       string
}

func (v *validator) sockets() []socket {
	var list []socket
	add := func(path string, a ListenAddr) {
		host, port, _ := splitPort(string(a))
		if a != "" && port != "0" {
			list = append(list, socket{path, string(a), host, port})
		}
	}
	for i, l := range v.c.Listeners {
		add(fmt.Sprintf("listener[%d].address", i), l.Address)
	}
	add("metrics.address", v.c.Metrics.Address)
	return list
}

// wildcard reports the host of a socket that takes every address.
func wildcard(host string) bool {
	a, err := netip.ParseAddr(host)
	return host == "" || err == nil && a.IsUnspecified()
}

// overlap reports sockets of one port that cannot both be bound. Nothing and
// "::" take both families; "0.0.0.0" takes IPv4 alone.
func overlap(a, b string) bool {
	both := func(host string) bool { return host == "" || host == "::" }
	v4 := func(host string) bool {
		x, err := netip.ParseAddr(host)
		return err == nil && x.Unmap().Is4()
	}
	return both(a) || both(b) || sameHost(a, b) || (wildcard(a) || wildcard(b)) && v4(a) && v4(b)
}

func sameHost(a, b string) bool {
	x, errX := netip.ParseAddr(a)
	y, errY := netip.ParseAddr(b)
	return errX == nil && errY == nil && x.Unmap() == y.Unmap()
}

// listeners finds two that want the same port.
func (v *validator) listeners() {
	list := v.sockets()
	for i, a := range list {
		for _, b := range list[:i] {
			if a.port == b.port && overlap(a.host, b.host) {
				v.at(a.path, fmt.Sprintf("%q overlaps with %s %q on line %d", a.addr, plainKey(b.path), b.addr, v.origins[b.path].line), "give each its own port or address")
				break
			}
		}
	}
	for i, l := range v.c.Listeners {
		path := fmt.Sprintf("listener[%d].proxy_protocol", i)
		if l.ProxyProtocol && !v.given(fmt.Sprintf("listener[%d].trusted_proxies", i)) {
			v.at(path, "needs trusted_proxies: without them every connection is closed", `write for example trusted_proxies = ["127.0.0.0/8"]`)
		}
	}
}

func (v *validator) domains() {
	v.c.domains = make(map[string]int, len(v.c.Domains))
	for i, dom := range v.c.Domains {
		path := fmt.Sprintf("domain[%d]", i)
		v.domain(path, dom)
		if dom.Name == "" {
			continue
		}
		if first, twice := v.c.domains[string(dom.Name)]; twice {
			line := v.origins[fmt.Sprintf("domain[%d].name", first)].line
			v.at(path+".name", fmt.Sprintf("%q is given twice, first on line %d", dom.Name, line), "keep one")
			continue
		}
		v.c.domains[string(dom.Name)] = i
	}
}

func (v *validator) domain(path string, dom Domain) {
	if v.given(path+".recipients") && v.given(path+".verify") {
		v.at(path+".verify", "recipients and verify are both set", "keep the one that knows the recipients")
	}
	if next := path + ".next_hops"; v.given(next) && len(dom.NextHops) == 0 && !v.given(next+"[0]") {
		v.at(next, "is empty", `write for example ["192.0.2.1:25"]`)
	}
	seen := map[HostPort]bool{}
	for i, h := range dom.NextHops {
		if seen[h] {
			v.at(fmt.Sprintf("%s.next_hops[%d]", path, i), fmt.Sprintf("%q is given twice", h), "keep one")
		}
		seen[h] = true
	}
}

// loops finds next hops that lead back into one of our own listeners. Names
// are not looked up; but our own hostname is known to be us.
func (v *validator) loops() {
	if o := v.c.Relay.Outbound; o != "" && o != OutboundMX {
		v.loop("relay.outbound", HostPort(o))
	}
	for i, dom := range v.c.Domains {
		for j, h := range dom.NextHops {
			v.loop(fmt.Sprintf("domain[%d].next_hops[%d]", i, j), h)
		}
	}
}

func (v *validator) loop(path string, h HostPort) {
	host, port, _ := splitPort(string(h))
	for i, l := range v.c.Listeners {
		ownHost, ownPort, _ := splitPort(string(l.Address))
		if port != ownPort || l.Address == "" {
			continue
		}
		if sameHost(host, ownHost) || wildcard(host) || wildcard(ownHost) && v.isThisHost(host) {
			line := v.origins[fmt.Sprintf("listener[%d].address", i)].line
			v.at(path, fmt.Sprintf("%q is our own listener of line %d: mail would go round in circles", h, line), "name the server that has the mailboxes")
			return
		}
	}
}

func (v *validator) isThisHost(host string) bool {
	if a, err := netip.ParseAddr(host); err == nil {
		return a.IsLoopback()
	}
	host = mail.CanonicalDomain(host)
	return host == string(v.c.Hostname) || host == "localhost" || strings.HasSuffix(host, ".localhost")
}
