package smtpd

import (
	"bytes"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"mailweir/mail"
)

// xclientNames are the attributes that XCLIENT set and that the EHLO which
// follows does not touch: it is the proxy's own.
type xclientNames struct{ helo, proto bool }

// checkXclient parses XCLIENT attribute=value ... as Postfix documents it.
// Nothing of the connection changes unless all of it is well-formed.
func (c *conn) checkXclient(arg []byte) *Reply {
	switch {
	case !c.trusted:
		return &replyXclientRefused
	case c.tx.open:
		return &replyInTransaction
	case len(arg) == 0:
		return &replyBadArgument
	}
	c.cmd.client, c.cmd.named = c.client, c.named
	for field := range bytes.FieldsSeq(arg) {
		key, value, ok := strings.Cut(string(field), "=")
		if !ok || len(value) > maxXclient {
			return &replyXclientArgument
		}
		value, ok = decodeXtext(value)
		if !ok || !c.cmd.xclient(strings.ToUpper(key), value) {
			return &replyXclientArgument
		}
	}
	return nil
}

// maxXclient is the longest value: a name of 255 octets.
const maxXclient = 255

// xclient applies one attribute. "[UNAVAILABLE]" and "[TEMPUNAVAIL]" say that
// the proxy knows that there is none, or could not find out: either way we
// know none.
func (a *arguments) xclient(key, value string) bool {
	unknown := strings.EqualFold(value, "[UNAVAILABLE]") || strings.EqualFold(value, "[TEMPUNAVAIL]")
	if unknown {
		value = ""
	}
	switch key {
	case "ADDR":
		return a.xclientAddr(value, unknown)
	case "PORT":
		port, err := strconv.ParseUint(value, 10, 16)
		a.client.Port = uint16(port)
		return unknown || err == nil
	case "NAME":
		a.client.Name = value
		return unknown || mail.ValidDomain(value, false)
	case "HELO":
		a.client.Helo, a.named.helo = value, !unknown
		return unknown || mail.ValidDomain(value, false)
	case "PROTO":
		a.client.ESMTP, a.named.proto = strings.EqualFold(value, "ESMTP"), !unknown
		return unknown || a.client.ESMTP || strings.EqualFold(value, "SMTP")
	}
	return false
}

func (a *arguments) xclientAddr(value string, unknown bool) bool {
	if unknown {
		a.client.Addr = netip.Addr{}
		return true
	}
	prefixed := len(value) > 5 && strings.EqualFold(value[:5], "IPV6:")
	if prefixed {
		value = value[5:]
	}
	addr, err := netip.ParseAddr(value)
	if err != nil || addr.Zone() != "" || prefixed && !addr.Is6() {
		return false
	}
	a.client.Addr = addr.Unmap()
	return true
}

// doXclient starts a fresh session for the client that it names: new limits,
// new look-ups, a banner, and EHLO again.
func (c *conn) doXclient() {
	c.closeSession()
	c.client, c.named = c.cmd.client, c.cmd.named
	c.client.User, c.client.TLS.Certificate = "", "" // the proxy's own
	c.greeted, c.tx = false, mailState{}
	c.errors, c.junk, c.badLines = 0, 0, 0
	c.ends = time.Now().Add(c.limits.SessionTimeout)
	if !c.count() {
		c.admission(connTooManyNetwork)
		c.reply(&replyTooManyConns)
		return
	}
	if c.openSession() {
		c.banner()
	}
}
