package smtpd

import (
	"crypto/tls"
	"strings"
	"time"

	"mailweir/mail"
)

// checkStartTLS: RFC 3207 section 4.
func (c *conn) checkStartTLS(arg []byte) *Reply {
	switch {
	case len(arg) > 0:
		return &replyBadArgument
	case c.client.TLS.Version != "":
		return &replyTLSActive
	case c.srv.tls == nil:
		return &replyTLSUnavailable
	case !c.greeted:
		return &replyNeedHelo
	case c.tx.open:
		return &replyInTransaction
	}
	return nil
}

// doStartTLS forgets everything that was said in clear (RFC 3207 section 4.2).
// Octets behind the command are what somebody on the way put there to be read
// as if they came through TLS: there is no honest reason for them.
func (c *conn) doStartTLS() {
	if !c.in.empty() {
		c.fault(errorSync)
		c.reply(&replySync)
		return
	}
	c.reply(&replyTLSReady)
	if c.flush() != nil || !c.startTLS() {
		c.closing = true
		return
	}
	c.greeted = false
	c.client.ESMTP = false
	if !c.named.helo {
		c.client.Helo = ""
	}
	c.endTransaction()
	c.tellGreeter()
}

// startTLS does the handshake, within its own time. After a failure, or when
// the server shuts down meanwhile, there is nothing that could be said in a way
// that the client understands.
func (c *conn) startTLS() bool {
	t := tls.Server(c.unread(), c.li.tls(c.srv.tls))
	c.yields.Store(closing)
	defer c.yields.Store(serving)
	c.tcp.SetDeadline(c.deadline(c.limits.HandshakeTimeout))
	c.readBy, c.writeBy = time.Time{}, time.Time{}
	if c.interrupted() { // after the deadline is set: see wake
		return false
	}
	if err := t.Handshake(); err != nil {
		c.srv.metrics.tls[tlsFailed].Inc()
		c.srv.log.Debug("TLS handshake failed", "error", err)
		return false
	}
	state := t.ConnectionState()
	c.nc = t
	c.client.TLS = mail.TLSInfo{Version: tlsVersion(state.Version), Cipher: tls.CipherSuiteName(state.CipherSuite)}
	c.certify(state.PeerCertificates)
	c.srv.metrics.handshake(c.client.TLS.Version)
	return true
}

// tlsVersion is "TLSv1.3": the spelling that trace fields and logs of other
// mail systems use.
func tlsVersion(v uint16) string {
	return strings.Replace(tls.VersionName(v), "TLS ", "TLSv", 1)
}
