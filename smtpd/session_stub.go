//go:build !wip

package smtpd

import "github.com/emersion/go-smtp"

// Session stands in until the packages that the session uses have landed.
type Session struct{ smtp.Session }
