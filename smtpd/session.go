package smtpd

import "github.com/emersion/go-smtp"

// Session is one client's session: what both engines drive.
type Session struct{ smtp.Session }
