package smtpd

import (
	"strings"

	"github.com/emersion/go-smtp"

	"mailweir/filter"
	"mailweir/mail"
)

// Reply is one text that we may send. All of them stand in the table below;
// none ever holds bytes of the client's.
type Reply struct {
	Code     int
	Enhanced smtp.EnhancedCode
	Text     string
	Close    bool // the connection is closed after it
}

// The table. Codes by RFC 5321 section 4.2, RFC 3463 and RFC 7372.
var (
	// Session.
	replyBye           = Reply{221, ec(2, 0, 0), "Bye", true}
	replyShutdown      = Reply{421, ec(4, 3, 2), "Service shutting down, try again later", true}
	replyTooBusy       = Reply{421, ec(4, 3, 2), "Too busy, try again later", true}
	replyTooManyConns  = Reply{421, ec(4, 7, 0), "Too many connections from your network, try again later", true}
	replyTimeout       = Reply{421, ec(4, 4, 2), "Timeout, closing connection", true}
	replyTooManyErrors = Reply{421, ec(4, 7, 0), "Too many errors, closing connection", true}
	replySessionFault  = Reply{421, ec(4, 3, 0), "Internal fault, closing connection, try again later", true}

	// Commands.
	replyOK              = Reply{250, ec(2, 0, 0), "Ok", false}
	replySyntax          = Reply{500, ec(5, 5, 2), "Syntax error: lines end with CRLF, without NUL, at most 2048 octets", false}
	replyUnknownCommand  = Reply{500, ec(5, 5, 1), "Command not recognized", false}
	replyNotSMTP         = Reply{554, ec(5, 5, 1), "This is no web server", true}
	replyNotImplemented  = Reply{502, ec(5, 5, 1), "Command not implemented", false}
	replyBadArgument     = Reply{501, ec(5, 5, 4), "Syntax error in parameters or arguments", false}
	replyUnknownParam    = Reply{555, ec(5, 5, 4), "Parameter not recognized or not implemented", false}
	replyNeedHelo        = Reply{503, ec(5, 5, 1), "Send EHLO or HELO first", false}
	replyNeedMail        = Reply{503, ec(5, 5, 1), "Need MAIL", false}
	replyNeedRcpt        = Reply{503, ec(5, 5, 1), "Need RCPT: no recipient was accepted", false}
	replyNestedMail      = Reply{503, ec(5, 5, 1), "MAIL was given already, send RSET first", false}
	replyInTransaction   = Reply{503, ec(5, 5, 1), "Not allowed inside a mail transaction", false}
	replyBadSender       = Reply{501, ec(5, 1, 7), "Bad sender address syntax", false}
	replyBadRecipient    = Reply{501, ec(5, 1, 3), "Bad recipient address syntax", false}
	replyNeedUTF8        = Reply{553, ec(5, 6, 7), "Address is not ASCII: SMTPUTF8 is needed", false}
	replyRate            = Reply{450, ec(4, 7, 1), "Too many ", false} // + of what, from whom, and when to try again
	replyRateLate        = Reply{451, ec(4, 7, 1), "Too many ", false} // the same, for a whole message
	replySender          = Reply{250, ec(2, 1, 0), "Sender ok", false}
	replyRecipient       = Reply{250, ec(2, 1, 5), "Recipient ok", false}
	replyReset           = Reply{250, ec(2, 0, 0), "Reset", false}
	replyVrfy            = Reply{252, ec(2, 1, 5), "Cannot VRFY, send RCPT to try", false}
	replyHelp            = Reply{214, ec(2, 0, 0), "See RFC 5321", false}
	replySync            = Reply{554, ec(5, 5, 0), "SMTP protocol synchronization error: wait for the reply first", true}
	replyTLSReady        = Reply{220, ec(2, 0, 0), "Ready to start TLS", false}
	replyTLSActive       = Reply{503, ec(5, 5, 1), "TLS is active already", false}
	replyTLSUnavailable  = Reply{454, ec(4, 7, 0), "TLS not available", false}
	replyXclientRefused  = Reply{550, ec(5, 7, 0), "XCLIENT is for listed proxies only", false}
	replyXclientArgument = Reply{501, ec(5, 5, 4), "Bad XCLIENT attribute", false}

	// Outgoing mail (RFC 4954 section 6).
	replyNeedTLS       = Reply{538, ec(5, 7, 11), "Send STARTTLS first: passwords are taken through TLS only", false}
	replyAuthTwice     = Reply{503, ec(5, 5, 1), "Logged in already", false}
	replyMechanism     = Reply{504, ec(5, 5, 4), "Only AUTH PLAIN is known here", false}
	replyAuthSyntax    = Reply{501, ec(5, 5, 2), "Cannot decode the credentials: base64 of NUL user NUL password is expected", false}
	replyAuthTooLong   = Reply{500, ec(5, 5, 6), "Authentication line too long", false}
	replyAuthCancelled = Reply{501, ec(5, 0, 0), "Authentication cancelled", false}
	replyAuthOK        = Reply{235, ec(2, 7, 0), "Authentication succeeded", false}
	replyAuthWrong     = Reply{535, ec(5, 7, 8), "User or password is wrong", false}
	replyAuthThrottled = Reply{454, ec(4, 7, 0), "Too many wrong passwords from your network, try again in 15 minutes", false}
	replyAuthBusy      = Reply{454, ec(4, 7, 0), "Temporary authentication failure, try again later", false}
	replyAuthRequired  = Reply{530, ec(5, 7, 0), "Authentication required: log in with AUTH through TLS to send mail", false}
	replySenderDenied  = Reply{553, ec(5, 7, 1), "Sender address is not one that you may use here", false}
	replyFromDenied    = Reply{550, ec(5, 7, 1), "The From field has an address that may not be used here", false}

	// Data.
	replyStart          = Reply{354, smtp.NoEnhancedCode, "End data with <CR><LF>.<CR><LF>", false}
	replyChunk          = Reply{250, ec(2, 0, 0), "Chunk ok", false}
	replyBadChunk       = Reply{501, ec(5, 5, 4), "Bad BDAT argument: cannot tell where the chunk ends, closing connection", true}
	replyChunkTooBig    = Reply{552, ec(5, 3, 4), "Message too big, closing connection", true}
	replyUnterminated   = Reply{550, ec(5, 5, 2), "Message does not end with CRLF", false}
	replyFault          = Reply{451, ec(4, 3, 0), "Internal fault, try again later", false}
	replyBdatOrder      = Reply{503, ec(5, 5, 1), "BDAT and DATA must not be mixed", false}
	replyBare           = Reply{550, ec(5, 5, 2), "Bare CR or LF in message: lines must end with CRLF", false}
	replyNUL            = Reply{550, ec(5, 6, 0), "NUL in message: encode binary content", false}
	replyLineTooLong    = Reply{550, ec(5, 6, 0), "Line too long in message", false}
	replyHeaderTooLarge = Reply{552, ec(5, 3, 4), "Header too large", false}
	replyTooBig         = Reply{552, ec(5, 3, 4), "Message too big", false}
	replyTooManyRcpts   = Reply{452, ec(4, 5, 3), "Too many recipients, send the rest in another transaction", false}
	replyTooManyHops    = Reply{554, ec(5, 4, 6), "Too many hops: mail loop", false}

	// Recipients.
	replyRelayDenied      = Reply{554, ec(5, 7, 1), "Relay access denied", false}
	replyUnknownRecipient = Reply{550, ec(5, 1, 1), "Recipient unknown", false}
	replyVerifyFailed     = Reply{451, ec(4, 4, 3), "Recipient check unavailable, try again later", false}
	replyListed           = Reply{554, ec(5, 7, 1), "Service unavailable; Client host blocked using ", false} // + zone

	// Verdicts.
	replySpam       = Reply{554, ec(5, 7, 1), "Message refused as spam", false}
	replyVirus      = Reply{554, ec(5, 7, 1), "Malware found", false}
	replyOversize   = Reply{554, ec(5, 7, 1), "Attachment exceeds scan limits", false}
	replyScanner    = Reply{451, ec(4, 7, 1), "Scanner unavailable, try later", false}
	replyOneFrom    = Reply{550, ec(5, 6, 0), "Malformed header: exactly one From field is needed", false}
	replyColon      = Reply{550, ec(5, 6, 0), "Malformed header: white space before the colon of a field", false}
	replyAmbiguous  = Reply{550, ec(5, 6, 0), "Mail programs would disagree about what is attached: send it again with another program", false}
	replyParts      = Reply{550, ec(5, 6, 0), "Too many or too deeply nested parts to be examined", false}
	replyHeaderNUL  = Reply{550, ec(5, 6, 0), "Malformed header: NUL in it", false}
	replyDMARC      = Reply{550, ec(5, 7, 1), "Refused by DMARC policy", false}
	replyDNS        = Reply{451, ec(4, 4, 3), "Temporary DNS failure, try again later", false}
	replyExecutable = Reply{554, ec(5, 7, 1), "Executable attachment refused", false}
	replyMacro      = Reply{554, ec(5, 7, 1), "Attachment with macros refused", false}
	replyActive     = Reply{554, ec(5, 7, 1), "Attachment with active content refused", false}
	replyEncrypted  = Reply{554, ec(5, 7, 1), "Encrypted attachment refused: its content cannot be examined", false}
	replyDisguised  = Reply{554, ec(5, 7, 1), "Attachment refused: its name or structure shows something else than it is", false}
	replyBomb       = Reply{554, ec(5, 7, 1), "Attachment refused: it unpacks to more than is examined", false}
	replyUnreadable = Reply{554, ec(5, 7, 1), "Attachment refused: not all of it could be examined", false}
	replyBlocked    = Reply{550, ec(5, 7, 1), "Sender is blocked here", false}
	replyRule       = Reply{554, ec(5, 7, 1), "Message refused by policy", false}
	replyDeferred   = Reply{451, ec(4, 7, 1), "Try again later", false}
	replyGreylist   = Reply{451, ec(4, 7, 1), "Greylisted, since we do not know you yet: try again in ", false} // + time
	replyQueued     = Reply{250, ec(2, 0, 0), "Ok: queued as ", false}                                          // + ID
	replyNotQueued  = Reply{451, ec(4, 3, 0), "Message not queued, try again later", false}
	replyNoSpace    = Reply{452, ec(4, 3, 1), "Insufficient system storage, try again later", false}
)

// structureReply says what is wrong with a message's structure, by its symbol.
func structureReply(symbol string) Reply {
	switch {
	case symbol == filter.SymAmbiguous:
		return replyAmbiguous
	case strings.HasPrefix(symbol, filter.SymMIMELimits):
		return replyParts
	}
	switch symbol {
	case filter.SymKeyFieldSpace:
		return replyColon
	case filter.SymHeaderNUL:
		return replyHeaderNUL
	}
	return replyOneFrom
}

// attachmentReply says which class of attachments is refused, by the symbol.
func attachmentReply(symbol string) Reply {
	switch filter.ClassOf(symbol) {
	case filter.ClassExecutable:
		return replyExecutable
	case filter.ClassMacro:
		return replyMacro
	case filter.ClassActive:
		return replyActive
	case filter.ClassEncrypted:
		return replyEncrypted
	case filter.ClassDisguised:
		return replyDisguised
	case filter.ClassBomb:
		return replyBomb
	}
	return replyUnreadable
}

func ec(a, b, c int) smtp.EnhancedCode { return smtp.EnhancedCode{a, b, c} }

// With is the reply with the trace ID at its end, so that a postmaster who is
// shown it can ask the gateway why.
func (r Reply) With(id mail.ID) *smtp.SMTPError {
	return r.text(r.Text + "; id " + id.String())
}

// Err is the reply without a trace ID.
func (r Reply) Err() *smtp.SMTPError { return r.text(r.Text) }

func (r Reply) text(s string) *smtp.SMTPError {
	return &smtp.SMTPError{Code: r.Code, EnhancedCode: r.Enhanced, Message: s}
}

// Queued is the positive reply to an accepted message.
func Queued(id mail.ID) *smtp.SMTPError { return replyQueued.text(replyQueued.Text + id.String()) }

// Greylisted says after what time to try again.
func Greylisted(wait string, id mail.ID) *smtp.SMTPError {
	return replyGreylist.text(replyGreylist.Text + wait + "; id " + id.String())
}

// Listed names the zone, since people look for it, and the trace ID.
func Listed(zone string, id mail.ID) *smtp.SMTPError {
	return replyListed.text(replyListed.Text + zone + "; id " + id.String())
}
