package smtpd

import (
	"context"
	"log/slog"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/emersion/go-smtp"

	"mailweir/filter"
	"mailweir/filter/arc"
	"mailweir/filter/privacy"
	"mailweir/internal/dkimcore"
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
	// AllowDomains are those of [[allow]] entries, canonical.
	AllowDomains []string
	MaxHops      int // Received fields from which a message counts as looping
	ReceivedSPF  bool
	Signer       *dkimcore.Signer // nil signs nothing
	Sealer       *arc.Sealer      // nil seals nothing
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
	settings atomic.Pointer[Settings]
}

// NewGateway makes the opener of sessions that hand over to acceptor.
func NewGateway(s *Settings, a Acceptor, r Recorder, log *slog.Logger, m *SessionMetrics) *Gateway {
	g := &Gateway{acceptor: a, recorder: r, log: log, m: m}
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
