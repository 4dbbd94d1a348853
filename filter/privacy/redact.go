package privacy

import (
	"fmt"
	"net/netip"
	"sync"

	"mailweir/filter"
	"mailweir/internal/jsonx"
	"mailweir/mail"
)

// Class is whose clients are redacted.
type Class int

// The classes, as `redact` in the config names them.
const (
	None Class = iota
	Own
	All
)

// ParseClass reads the config's word.
func ParseClass(s string) (Class, error) {
	switch s {
	case "none":
		return None, nil
	case "own":
		return Own, nil
	case "all":
		return All, nil
	}
	return None, fmt.Errorf("privacy: %q is not a class: none, own or all", s)
}

// String is the config's word.
func (c Class) String() string {
	switch c {
	case Own:
		return "own"
	case All:
		return "all"
	}
	return "none"
}

// The values of Options.SignedFields.
const (
	KeepSigned   = "keep"
	RedactSigned = "redact"
)

// Options say what to redact. The same Options serve all messages of a client
// to domains of one class.
type Options struct {
	Class        Class
	OwnNetworks  []netip.Prefix
	SignedFields string // KeepSigned (also ""), or RedactSigned
	ClientOwn    bool   // the connecting client is in OwnNetworks
	// Client is the connecting client: what tells of it in fields that came
	// with the message goes like what tells of a hop.
	Client mail.Client
	// Submitted: the message is one of our own users', and the client is the
	// program or the server that hands it in. Then a by-domain goes, too, when it is
	// that client's name or HELO; elsewhere it names a server on the way.
	Submitted bool
	// Authserv is our own authserv-id: Authentication-Results under it are
	// ours, and were written to obey the class.
	Authserv string
	// Memory is where Result.Head is made, if it fits.
	Memory []byte
}

// HidesClient reports whether our own Received and Authentication-Results must
// not tell the connecting client's address, host name or HELO.
func (o Options) HidesClient() bool {
	return o.Class == All || o.Class == Own && o.ClientOwn
}

// Kind is what happened to a field.
type Kind string

// The kinds of edits.
const (
	Removed    Kind = "removed"
	Redacted   Kind = "redacted"
	KeptSigned Kind = "kept_signed" // names a client, and a DKIM signature covers it
)

// Edit is what happened to one field.
type Edit struct {
	Field  int    `json:"field"` // index into Header.Fields
	Name   string `json:"name"`
	Kind   Kind   `json:"kind"`
	Reason string `json:"reason"`
}

// AppendJSON implements jsonx.Appender.
func (e *Edit) AppendJSON(b []byte) []byte {
	o := jsonx.Begin(b)
	o.Int("field", int64(e.Field))
	o.String("name", e.Name)
	o.String("kind", string(e.Kind))
	o.String("reason", e.Reason)
	return o.End()
}

// Result is the redacted header section. Head is nil when nothing changed:
// then the section as received is the one to send. Edits are in the order of
// the fields.
type Result struct {
	Head  []byte
	Edits []Edit
}

// Redact applies o to h. dkim tells which signatures are known to be broken;
// every other DKIM-Signature in h counts as valid, whether it was checked or
// not. h is not changed.
func Redact(h *mail.Header, dkim []filter.DKIMFacts, o Options) Result {
	if !o.HidesClient() {
		return Result{}
	}
	r := redactors.Get().(*redactor)
	*r = redactor{header: h, dkim: dkim, options: o, hops: r.hops[:0], body: r.body[:0]}
	r.trace()
	r.clientFields()
	result := r.result()
	*r = redactor{hops: r.hops, body: r.body} // it holds on to nothing of the message
	redactors.Put(r)
	return result
}

// redactors are for the next message: their scratch memory saves what most messages
// would allocate.
var redactors = sync.Pool{New: func() any { return new(redactor) }}
