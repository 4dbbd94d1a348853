package smtpd

import (
	"context"
	"io"

	"github.com/emersion/go-smtp"

	"mailweir/mail"
)

// Opener opens a session for a client. The engine calls it before the banner,
// when PROXY has said who the client is, and again after XCLIENT. An error is
// sent instead of the banner, and the connection is closed.
//
// ctx ends when the connection does, or when a shutdown loses its patience.
type Opener interface {
	Open(ctx context.Context, client mail.Client) (smtp.Session, error)
}

// Greeter is told of each HELO, EHLO and STARTTLS: client is complete then.
type Greeter interface {
	Greet(client mail.Client)
}

// Starter is asked before 354, and before the first BDAT chunk is read: the
// last moment to refuse a message without its data.
type Starter interface {
	StartData() error
}

// The engine's sessions implement go-smtp's Session:
//
//   - Mail, Rcpt get paths quoted as they came, already checked by
//     mail.ParsePath; "postmaster" without a domain is handed over as it is.
//   - Data reads the message: CRLF line ends only, dots unstuffed, io.EOF only
//     after a complete message, io.ErrUnexpectedEOF when the connection ended
//     before, smtp.ErrDataReset when RSET or QUIT came between two BDAT chunks.
//     A *smtp.SMTPError from the reader (bare CR, too big) is returned
//     by Data as it is. The engine's reader is an io.WriterTo that hands over
//     what arrived in one piece. Data's own *smtp.SMTPError with Code 250 is
//     the positive reply; nil is a plain "250 2.0.0 Ok".
//   - An error that is no *smtp.SMTPError is an internal fault: 451, never 5yz.
//   - Reset ends a transaction, also the one that Data just finished.
//   - Logout is called exactly once, also when the connection broke.
var _ smtp.Session = (*Session)(nil)

// Acceptor stores accepted messages: the queue, seen from here.
type Acceptor interface {
	// Begin makes room for one message. sizeHint is what MAIL declared, 0 when
	// nothing. It fails with a *smtp.SMTPError when there is no room.
	Begin(ctx context.Context, sizeHint int64) (Intake, error)
	// Room tells, at MAIL, whether a message of that size would find room.
	Room(sizeHint int64) error
	// Discarded counts recipients that a rule dropped at reception: they were
	// accepted, and must not be missing from the accounts.
	Discarded(recipients int)
}

// Intake is one message on its way in. Exactly one of Commit and Abort ends
// it; nothing of it may be used after that.
type Intake interface {
	// Write takes the next bytes of the message as received. Small messages
	// stay in memory, large ones go to the queue's own file.
	io.Writer
	// ReadAt reads what was written so far, also while Write is running: it
	// is how a slow scanner follows the arrival.
	io.ReaderAt
	// Content is all that was written; valid until Commit or Abort.
	Content() mail.Content
	// Commit makes m durable and hands it to the queue. Nothing of m may be used
	// after it has returned: the memory is needed again. m.Body is a section
	// of Content. When it returns nil the message is on the disk: written
	// whole, synced, its file's name too. The wait has a bound, and ends with
	// ctx; a message whose outcome is unknown then may be stored all the same
	// (RFC 1047).
	Commit(ctx context.Context, m *mail.Message) error
	Abort()
}
