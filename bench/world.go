package main

import (
	"fmt"
	"net/netip"
	"strings"

	"mailweir/internal/dns/dnstest"
)

// dnsblZones are asked about every client. Each must answer for its test
// points (RFC 5782 section 5), or the gateway switches it off.
var dnsblZones = []string{"bl1.test", "bl2.test", "bl3.test"}

// world is what a gateway finds around it: DNS, a next hop, clients, and a
// sender who signs.
type world struct {
	dns     *dnstest.Server
	sink    *sink
	signer  *signer
	clients []netip.Addr
	number  int // of the next message
}

// manyClients is how many addresses the clients of a run have: as many as
// still fit in a zone text, and enough that a limit per network sees them all.
const manyClients = 512

func newWorld(noChunking bool) (*world, error) {
	w := &world{clients: clients(manyClients), number: 1}
	var err error
	if w.signer, err = newSigner(); err != nil {
		return nil, err
	}
	key, err := w.signer.record()
	if err != nil {
		return nil, err
	}
	if w.dns, err = dnstest.New(zoneText(key, w.clients)); err != nil {
		return nil, err
	}
	if w.sink, err = newSink(sinkOptions{Address: "127.0.0.1:0", NoChunking: noChunking}); err != nil {
		w.dns.Close()
		return nil, err
	}
	return w, nil
}

func (w *world) close() {
	w.sink.close()
	w.dns.Close()
}

// zoneText has all that the checks ask for: SPF with two includes of which the
// second one matches, DMARC, the DKIM key, the canaries of the DNSBL zones, and
// forward-confirmed names of all clients.
func zoneText(key string, list []netip.Addr) string {
	var b strings.Builder
	for _, line := range []string{
		senderDomain + ` 3600 TXT "v=spf1 include:spf1.` + senderDomain + ` include:spf2.` + senderDomain + ` -all"`,
		senderDomain + ` 3600 MX 10 mail.` + senderDomain + `.`,
		senderDomain + ` 3600 A 192.0.2.1`,
		`spf1.` + senderDomain + ` 3600 TXT "v=spf1 ip4:10.0.0.0/8 ip4:172.16.0.0/12 -all"`,
		`spf2.` + senderDomain + ` 3600 TXT "v=spf1 ip4:192.0.2.0/24 ip4:198.51.100.0/24 ip4:203.0.113.0/24 ip6:2001:db8::/32 -all"`,
		`_dmarc.` + senderDomain + ` 3600 TXT "v=DMARC1; p=reject; adkim=r; aspf=r"`,
		selector + `._domainkey.` + senderDomain + ` 3600 TXT ` + key,
	} {
		b.WriteString(line + "\n")
	}
	for _, zone := range dnsblZones {
		fmt.Fprintf(&b, "2.0.0.127.%s 3600 A 127.0.0.2\n", zone)
		fmt.Fprintf(&b, "2.0.0.0.0.f.7.f.f.f.f.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.%s 3600 A 127.0.0.2\n", zone)
	}
	done := map[netip.Addr]bool{}
	for k, a := range list {
		if done[a] {
			continue
		}
		done[a] = true
		typ := "A"
		if a.Is6() {
			typ = "AAAA"
		}
		fmt.Fprintf(&b, "%s 3600 PTR out%d.%s.\n", reverseName(a), k, senderDomain)
		fmt.Fprintf(&b, "out%d.%s 3600 %s %s\n", k, senderDomain, typ, a)
	}
	return b.String()
}

// reverseName is the name of an address in the reverse tree (RFC 1035 section
// 3.5, RFC 3596 section 2.5).
func reverseName(a netip.Addr) string {
	raw := a.AsSlice()
	var b strings.Builder
	for k := len(raw) - 1; k >= 0; k-- {
		if a.Is4() {
			fmt.Fprintf(&b, "%d.", raw[k])
		} else {
			fmt.Fprintf(&b, "%x.%x.", raw[k]&15, raw[k]>>4)
		}
	}
	if a.Is4() {
		return b.String() + "in-addr.arpa"
	}
	return b.String() + "ip6.arpa"
}
