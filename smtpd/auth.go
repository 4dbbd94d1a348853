package smtpd

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"time"

	"github.com/emersion/go-smtp"
)

// Authenticator is implemented by sessions of listeners for outgoing mail. A
// *smtp.SMTPError is the refusal; any other error is a fault of ours.
type Authenticator interface {
	// TakesPasswords reports whether there is anything to log in with.
	TakesPasswords() bool
	// Authenticate logs the client in, or says why not.
	Authenticate(ctx context.Context, user, password string) error
}

// authenticator is the session's, where the listener is for outgoing mail.
func (c *conn) authenticator() Authenticator {
	if !c.li.Outbound {
		return nil
	}
	if a, ok := c.session.(Authenticator); ok && a.TakesPasswords() {
		return a
	}
	return nil
}

// offersAuth: only through TLS, and only once (RFC 4954 section 4).
func (c *conn) offersAuth() bool {
	return c.client.TLS.Version != "" && c.client.User == "" && c.authenticator() != nil
}

// checkAuth: RFC 4954 section 4. PLAIN is the one mechanism: through TLS it is
// as good as any that can be checked against hashes.
func (c *conn) checkAuth(arg []byte) *Reply {
	switch {
	case c.authenticator() == nil:
		return &replyUnknownCommand // to a mail exchanger
	case !c.greeted || !c.client.ESMTP:
		return &replyNeedHelo
	case c.client.TLS.Version == "":
		return &replyNeedTLS
	case c.client.User != "":
		return &replyAuthTwice
	case c.tx.open:
		return &replyInTransaction
	}
	mechanism, initial, _ := bytes.Cut(arg, space)
	if !bytes.EqualFold(mechanism, []byte("PLAIN")) {
		return &replyMechanism
	}
	c.cmd.initial = bytes.Clone(initial)
	return nil
}

// doAuth takes the credentials (RFC 4616) and asks the session.
func (c *conn) doAuth() {
	answer := c.cmd.initial
	if len(answer) == 0 {
		var ok bool
		if answer, ok = c.challenge(); !ok {
			return
		}
	}
	c.cmd.initial = nil
	switch user, password, ok := parsePlain(answer); {
	case len(answer) == 1 && answer[0] == '*':
		c.refuse(&replyAuthCancelled)
	case !ok:
		c.refuse(&replyAuthSyntax)
	default:
		c.authenticate(user, password)
	}
}

// challenge waits for the line that holds the credentials.
func (c *conn) challenge() (answer []byte, ok bool) {
	c.say(334, smtp.NoEnhancedCode, "")
	line, err := c.readCommand()
	if err != nil {
		c.broken(err)
		c.closing = true
		return nil, false
	}
	body, found := bytes.CutSuffix(line, crlf)
	if !found {
		c.refuse(&replyAuthTooLong)
		return nil, false
	}
	return bytes.Clone(body), true
}

// parsePlain decodes [authzid] NUL authcid NUL password. Nobody may act for
// somebody else: the authzid is empty or the same (RFC 4616 section 2).
func parsePlain(b []byte) (user, password string, ok bool) {
	if len(b) == 1 && b[0] == '=' {
		return "", "", false // an empty initial response has no password
	}
	data, err := base64.StdEncoding.AppendDecode(nil, b)
	parts := bytes.Split(data, []byte{0})
	if err != nil || len(parts) != 3 || len(parts[1]) == 0 || len(parts[2]) == 0 {
		return "", "", false
	}
	if len(parts[0]) > 0 && !bytes.Equal(parts[0], parts[1]) {
		return "", "", false
	}
	return string(parts[1]), string(parts[2]), true
}

// maxAuthFailures in one session.
const maxAuthFailures = 3

func (c *conn) authenticate(user, password string) {
	ctx, cancel := context.WithTimeout(c.ctx, authTimeout)
	defer cancel()
	err := c.authenticator().Authenticate(ctx, user, password)
	if err == nil {
		c.srv.metrics.auth[authOK].Inc()
		c.client.User = user
		c.reply(&replyAuthOK)
		return
	}
	if e, ok := errors.AsType[*smtp.SMTPError](err); !ok || e.Code < 500 {
		c.srv.metrics.auth[authDeferred].Inc()
		c.refuseError(err)
		return
	}
	c.srv.metrics.auth[authFailed].Inc()
	if c.authFailures++; c.authFailures >= maxAuthFailures {
		c.replyError(err, &replyFault)
		c.closing, c.linger = true, true
		return
	}
	c.refuseError(err)
}

// authTimeout bounds the wait for a turn to compute a hash.
const authTimeout = 20 * time.Second

// certify notes who the client is by its certificate, where the listener knows
// the authority that issued it. Any other certificate counts as none: clients
// send what they have.
func (c *conn) certify(chain []*x509.Certificate) {
	roots := c.li.clientCAs.Load()
	if roots == nil || len(chain) == 0 {
		return
	}
	rest := x509.NewCertPool()
	for _, cert := range chain[1:] {
		rest.AddCert(cert)
	}
	_, err := chain[0].Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: rest, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	if err != nil {
		c.srv.log.Debug("client certificate is not accepted", "error", err)
		return
	}
	c.client.TLS.Certificate = certificateName(chain[0])
}

// certificateName is what a certificate calls its holder.
func certificateName(cert *x509.Certificate) string {
	switch {
	case len(cert.EmailAddresses) > 0:
		return cert.EmailAddresses[0]
	case len(cert.DNSNames) > 0:
		return cert.DNSNames[0]
	case cert.Subject.CommonName != "":
		return cert.Subject.CommonName
	}
	return "serial " + cert.SerialNumber.String()
}
