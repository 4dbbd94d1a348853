package smtpd

import (
	"context"
	"log/slog"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/emersion/go-smtp"

	"mailweir/filter"
	"mailweir/filter/access"
	"mailweir/filter/arc"
	"mailweir/filter/effect"
	"mailweir/filter/privacy"
	"mailweir/internal/dkimcore"
	"mailweir/internal/password"
	"mailweir/internal/recipients"
	"mailweir/mail"
)

// Settings is what a reload replaces, as one piece: a transaction keeps those
// that it began with.
type Settings struct {
	Hostname    string // also the authserv-id
	Pipeline    *filter.Pipeline
	Domains     map[string]*Domain // by canonical name
	OwnNetworks []netip.Prefix
	Access      *access.Lists // [[allow]] and [[block]]; nil has none
	Marks       effect.Marks  // of what rules send on
	// Rates are the limits on what senders may send in a time.
	Rates []Rate
	// Observers learn from verdicts that came to be.
	Observers   []filter.Observer
	MaxHops     int // Received fields from which a message counts as looping
	ReceivedSPF bool
	Signer      *dkimcore.Signer // nil signs nothing
	Sealer      *arc.Sealer      // nil seals nothing
	// Outbound is for listeners for outgoing mail; nil where there are none.
	Outbound *Outbound
}

// Domain is one of the domains that we accept mail for.
type Domain struct {
	Policy       *filter.DomainPolicy
	Postmaster   *filter.DomainPolicy // the same, for the exempt local-part
	Redact       privacy.Class
	SignedFields string // "keep" or "redact"
	// Recipients knows who exists; nil accepts every local-part.
	Recipients Verifier
}

// Outbound is what holds for mail that our own users send.
type Outbound struct {
	// Pipeline judges it: what it asks about strangers is switched off.
	Pipeline *filter.Pipeline
	// Domain is policy and redaction, for all recipients.
	Domain *Domain
	// Login knows the passwords; nil: none are taken.
	Login Login
	// Senders is whose addresses may be used: SendersOwn, SendersLogin, SendersAny.
	Senders string
}

// The values of Outbound.Senders.
const (
	SendersOwn   = "own"   // addresses in our domains
	SendersLogin = "login" // the same; and who is logged in by an address, that address alone
	SendersAny   = "any"
)

// Login checks passwords.
type Login func(ctx context.Context, client netip.Addr, user, password string) password.Result

// Verifier tells whether a recipient exists.
type Verifier interface {
	Verify(ctx context.Context, rcpt mail.Path) recipients.Result
}

// Recorder keeps what `gateway why` explains. It must not block.
type Recorder interface {
	Append(id mail.ID, kind string, at time.Time, v any)
}

// Gateway opens sessions: the Opener that the engine is given.
type Gateway struct {
	acceptor Acceptor
	recorder Recorder
	log      *slog.Logger
	m        *SessionMetrics
	names    Names
	settings atomic.Pointer[Settings]
	// responder sends what rules answer; nil: nobody does.
	responder Responder
}

// Names says how clients and addresses appear in the log. It is safe for
// concurrent use.
type Names interface {
	// Client is for an address of a client; Host for its name or HELO; Mail
	// for a mail address or a log-in.
	Client(at time.Time, addr string) string
	Host(at time.Time, name string) string
	Mail(at time.Time, address string) string
}

// PlainNames show everything as it is.
type PlainNames struct{}

// Client implements Names.
func (PlainNames) Client(_ time.Time, s string) string { return s }

// Host implements Names.
func (PlainNames) Host(_ time.Time, s string) string { return s }

// Mail implements Names.
func (PlainNames) Mail(_ time.Time, s string) string { return s }

// NameLogs sets how clients and addresses appear in the log; before it is
// called everything appears as it is. Only before the first session.
func (g *Gateway) NameLogs(n Names) { g.names = n }

// NewGateway makes the opener of sessions that hand over to acceptor.
func NewGateway(s *Settings, a Acceptor, r Recorder, log *slog.Logger, m *SessionMetrics) *Gateway {
	g := &Gateway{acceptor: a, recorder: r, log: log, m: m, names: PlainNames{}}
	g.settings.Store(s)
	return g
}

// Reload replaces the settings for transactions that begin from now on.
func (g *Gateway) Reload(s *Settings) { g.settings.Store(s) }

// Open implements Opener.
func (g *Gateway) Open(ctx context.Context, client mail.Client) (smtp.Session, error) {
	s := &Session{gw: g, ctx: ctx, client: client}
	s.connect(g.settings.Load())
	return s, nil
}

// Own reports an address in own_networks.
func (s *Settings) Own(a netip.Addr) bool {
	for _, p := range s.OwnNetworks {
		if p.Contains(a) {
			return true
		}
	}
	return false
}
