package config

import (
	"net/netip"
	"time"
)

// Config is the whole file, with every default filled in. It is not changed
// after Load; a reload makes a new one.
//
// The tags: toml is the key; default the value when it is absent; required
// marks what must be there; enum, min and max bound it; inherit names the path
// whose value holds where the key is absent; sets names the keys beside it that
// it stands for, where they are absent and can have its value.
type Config struct {
	// Hostname is our name in the banner, in Received, and as authserv-id.
	Hostname Name `toml:"hostname" required:"yes"`
	// DataDir holds the spool and all other state.
	DataDir Path `toml:"data_dir" required:"yes"`
	// Mode is "enforce" or "tag"; a domain can have its own.
	Mode string `toml:"mode" default:"enforce" enum:"enforce|tag"`

	Listeners []Listener `toml:"listener"`
	TLS       TLS        `toml:"tls"`
	Limits    Limits     `toml:"limits"`
	DNS       DNS        `toml:"dns"`
	Score     Score      `toml:"score"`
	SPF       SPF        `toml:"spf"`
	DMARC     DMARC      `toml:"dmarc"`
	DKIM      []DKIM     `toml:"dkim"`
	ARC       ARC        `toml:"arc"`
	Overrides []Override `toml:"dmarc_override"`
	Structure Structure  `toml:"structure"`
	Checks    Checks     `toml:"checks"`
	Rules     Rules      `toml:"rules"`
	Learn     Learn      `toml:"learn"`
	Greylist  Greylist   `toml:"greylist"`
	Domains   []Domain   `toml:"domain"`

	Reputation Reputation  `toml:"reputation"`
	RateLimits []RateLimit `toml:"rate_limit"`

	Relay    Relay      `toml:"relay"`
	Outbound Submission `toml:"outbound"`
	Queue    Queue      `toml:"queue"`
	ClamAV   ClamAV     `toml:"clamav"`
	Engines  []Engine   `toml:"engine"`
	DNSBL    []DNSBL    `toml:"dnsbl"`
	URIBL    []URIBL    `toml:"uribl"`
	VIPs     []VIP      `toml:"vip"`
	Allow    []Access   `toml:"allow"`
	Block    []Access   `toml:"block"`
	Privacy  Privacy    `toml:"privacy"`
	History  History    `toml:"history"`
	Events   Events     `toml:"events"`
	Stats    Stats      `toml:"stats"`
	Log      Log        `toml:"log"`
	Metrics  Metrics    `toml:"metrics"`

	Attachments Attachments `toml:"attachments"`

	file    string
	origins map[string]origin
	domains map[string]int // canonical name -> index in Domains
}

// Listener is one [[listener]]: a socket that clients connect to.
type Listener struct {
	Address ListenAddr `toml:"address" required:"yes"`
	// TrustedProxies may use XCLIENT, and must send PROXY where ProxyProtocol
	// is set.
	TrustedProxies []netip.Prefix `toml:"trusted_proxies"`
	ProxyProtocol  bool           `toml:"proxy_protocol" default:"false"`
	ImplicitTLS    bool           `toml:"implicit_tls" default:"false"`
	// Role "outbound" takes mail of our own users, for everybody; Outbound is
	// the rest of it.
	Role string `toml:"role" default:"mx" enum:"mx|outbound"`
}

// TLS names the certificate; without it the gateway makes its own.
type TLS struct {
	Certificate Path `toml:"certificate"`
	Key         Path `toml:"key"`
}

// Limits bound what a client can send or hold. A value below what RFC 5321
// section 4.5.3.1 demands of every server (64 KiB, 100 recipients) is taken
// all the same: some hosts are there for one application.
type Limits struct {
	MessageSize Size `toml:"message_size" default:"50MiB" min:"1KiB" max:"2GiB"`
	HeaderSize  Size `toml:"header_size" default:"256KiB" min:"1KiB" max:"16MiB"`
	// TextLine is the longest body line; RFC 5321 section 4.5.3.1.6 asks for
	// 1,000 octets, and honest HTML mail exceeds that by far.
	TextLine              Size          `toml:"text_line" default:"128KiB" min:"1000" max:"2GiB"`
	Connections           int           `toml:"connections" default:"10000" min:"1" max:"1000000"`
	ConnectionsPerNetwork int           `toml:"connections_per_network" default:"50" min:"1" max:"1000000"`
	Recipients            int           `toml:"recipients" default:"100" min:"1" max:"100000"`
	Errors                int           `toml:"errors" default:"20" min:"1" max:"10000"`
	CommandTimeout        time.Duration `toml:"command_timeout" default:"5m" min:"1s" max:"1h"` // RFC 5321 section 4.5.3.2.7
	DataTimeout           time.Duration `toml:"data_timeout" default:"3m" min:"1s" max:"1h"`    // section 4.5.3.2.5
	SessionTimeout        time.Duration `toml:"session_timeout" default:"1h" min:"1s" max:"1d"`
}

// DNS is the resolver.
type DNS struct {
	Servers []Server      `toml:"servers"` // empty: the system's
	CAFile  Path          `toml:"ca_file"` // who signs the certificates of servers over TLS; absent: whom the system trusts
	TrustAD string        `toml:"trust_ad" default:"secure" enum:"secure|always|never"`
	Timeout time.Duration `toml:"timeout" default:"2s" min:"10ms" max:"1m"`
	DNSPolicy
}

// DNSPolicy is the part of [dns] that a domain can override.
type DNSPolicy struct {
	OnError string `toml:"on_error" default:"accept" enum:"accept|defer"`
}

// Score is the thresholds of the sum of all symbols.
type Score struct {
	Tag        float64 `toml:"tag" default:"5.0" min:"-1000" max:"100000"`
	Quarantine float64 `toml:"quarantine" default:"0.0" min:"0" max:"100000"` // 0: off
	Reject     float64 `toml:"reject" default:"15.0" min:"0.1" max:"100000"`
}

// SPF is how SPF results are shown.
type SPF struct {
	// ReceivedSPF adds that field to what is relayed, next to
	// Authentication-Results. It names the client, and is therefore left out
	// where the client is redacted.
	ReceivedSPF bool `toml:"received_spf" default:"false"`
}

// DKIM is a key to sign with: mail of own clients, and DSNs, in the name of the
// domain or a subdomain. A domain with several keys is signed for with each.
type DKIM struct {
	Domain   Name     `toml:"domain" required:"yes"`
	Selector Selector `toml:"selector" required:"yes"`
	Key      Path     `toml:"key" required:"yes"`
}

// ARC is what seals of others mean, and whether we seal.
type ARC struct {
	TrustedSealers []Name `toml:"trusted_sealers"`
	Seal           Name   `toml:"seal"` // a domain with a [[dkim]] key; absent: no sealing
}

// Override lets DMARC failures of some mail pass without consequences.
type Override struct {
	Network netip.Prefix `toml:"network"`
	Domain  Name         `toml:"domain"`
	Author  Name         `toml:"author"`
	// RecipientDomain limits it to mail for nobody but this [[domain]].
	RecipientDomain Name   `toml:"recipient_domain"`
	Reason          string `toml:"reason" required:"yes" enum:"forwarded|mailing_list|trusted_forwarder|local_policy"`
}

// DMARC is what a DMARC failure may lead to, and whom we tell about mail in
// their name.
type DMARC struct {
	DMARCPolicy
	Reports DMARCReports `toml:"reports"`
}

// DMARCPolicy is the part of [dmarc] that a domain can override.
type DMARCPolicy struct {
	Reject string `toml:"reject" default:"corroborated" enum:"corroborated|always|never"`
}

// Structure is what a message may lead to whose parts clients could disagree
// about, or that has more of them than are looked at.
type Structure struct {
	OnAmbiguous string `toml:"on_ambiguous" default:"reject" enum:"reject|quarantine|tag"`
	OnLimit     string `toml:"on_limit" default:"reject" enum:"reject|quarantine|tag"`
}

// DMARCReports are the aggregate reports of RFC 9990 that we send.
type DMARCReports struct {
	Email        Address `toml:"email"` // absent: no reports
	Organization string  `toml:"organization"`
	Contact      string  `toml:"contact"`
}

// Checks switches checks off by name.
type Checks struct {
	Disabled []string `toml:"disabled"`
}

// Rules names the files of content rules.
type Rules struct {
	Files []Path `toml:"files"` // absent: the rules that the binary brings
}

// Learn is what the learned filter needs before it has a say, and what it keeps.
type Learn struct {
	Minimum  int  `toml:"minimum" default:"200" min:"1" max:"100000"`  // messages of spam, and of ham
	Keep     int  `toml:"keep" default:"20000" min:"100" max:"100000"` // the newest of each
	Releases bool `toml:"releases" default:"true"`
}

// Domain is one [[domain]]: mail that we accept, and what differs for it.
// After Load everything that it inherits is filled in.
type Domain struct {
	Name     Name       `toml:"name" required:"yes"`
	NextHops []HostPort `toml:"next_hops" required:"yes"`
	// Recipients is a file of known recipients; Verify "next_hop" asks the
	// next hop instead. Neither: every local-part is accepted.
	Recipients Path   `toml:"recipients"`
	Verify     string `toml:"verify" enum:"next_hop"`

	Mode   string        `toml:"mode" enum:"enforce|tag" inherit:"mode"`
	Redact string        `toml:"redact" enum:"none|own|all" inherit:"privacy.redact"`
	Score  Score         `toml:"score" inherit:"score"`
	DMARC  DMARCPolicy   `toml:"dmarc" inherit:"dmarc"`
	DNS    DNSPolicy     `toml:"dns" inherit:"dns"`
	ClamAV ScannerPolicy `toml:"clamav" inherit:"clamav"`

	Structure Structure      `toml:"structure" inherit:"structure"`
	Greylist  GreylistPolicy `toml:"greylist" inherit:"greylist"`
	// OnError and OnOversize are short for the values in clamav and dns, which
	// are what counts.
	OnError    string `toml:"on_error" enum:"defer|accept|quarantine" sets:"clamav.on_error dns.on_error"`
	OnOversize string `toml:"on_oversize" enum:"tag|reject|quarantine" sets:"clamav.on_oversize"`

	Attachments Attachments `toml:"attachments" inherit:"attachments"`
}

// Relay is the way out.
type Relay struct {
	Outbound Outbound `toml:"outbound"` // mail for other domains (DSNs); absent: it is held
	TLS      string   `toml:"tls" default:"opportunistic" enum:"opportunistic|required"`

	// These are for Outbound "mx".
	OutboundConnections int            `toml:"outbound_connections" default:"10" min:"1" max:"1000"` // to one mail exchanger
	OutboundFamily      string         `toml:"outbound_family" default:"any" enum:"any|ipv4|ipv6"`
	OutboundAllow       []netip.Prefix `toml:"outbound_allow"` // loopback and the like that DNS may name
}

// Submission is who may send through listeners with the role "outbound", and
// as whom: clients in own_networks, with a certificate, or with a password.
type Submission struct {
	Passwords Path   `toml:"passwords"` // lines of `gateway passwd`; absent: no AUTH
	ClientCA  Path   `toml:"client_ca"` // absent: no client certificates
	Senders   string `toml:"senders" default:"own" enum:"own|login|any"`
	Redact    string `toml:"redact" default:"all" enum:"none|own|all"`
}

// Queue is when to try again and when to give up.
type Queue struct {
	RetryFirst time.Duration `toml:"retry_first" default:"5m" min:"1s" max:"1d"`
	RetryMax   time.Duration `toml:"retry_max" default:"1h" min:"1s" max:"7d"`
	// RetryJitter spreads each wait evenly over plus and minus this part of it.
	RetryJitter float64       `toml:"retry_jitter" default:"0.2" min:"0" max:"0.5"`
	Expire      time.Duration `toml:"expire" default:"5d" min:"1s" max:"60d"` // RFC 5321 section 4.5.4.1: 4-5 days
	// DelayWarning is when the sender of a message that waits is told so; 0: never.
	DelayWarning time.Duration `toml:"delay_warning" default:"0s" min:"0s" max:"60d"`
	// ReportsPerMinute are the attempts for reports of ours, whose class comes
	// after the mail of people.
	ReportsPerMinute int           `toml:"reports_per_minute" default:"60" min:"1" max:"60000"`
	Quarantine       time.Duration `toml:"quarantine" default:"30d" min:"1s" max:"3650d"`
	// MinFree and MinFreeInodes of the spool's file system: below them MAIL is
	// refused with 452 until there is more again.
	MinFree       Size `toml:"min_free" default:"512MiB" min:"16MiB" max:"1024GiB"`
	MinFreeInodes int  `toml:"min_free_inodes" default:"1024" min:"1" max:"1000000000"`
	// EncryptionKey seals all that is stored; absent: it lies in clear.
	EncryptionKey KeySource `toml:"encryption_key"`
	Compression   string    `toml:"compression" default:"none" enum:"none|s2"`
}

// ClamAV is the virus scanner.
type ClamAV struct {
	Address ScannerAddr `toml:"address"` // absent: no virus scan
	ScannerPolicy
}

// ScannerPolicy is the part of [clamav] that a domain can override.
type ScannerPolicy struct {
	OnError    string `toml:"on_error" default:"defer" enum:"defer|accept|quarantine"`
	OnOversize string `toml:"on_oversize" default:"tag" enum:"tag|reject|quarantine"`
}

// Attachments is what happens to a message with an attachment of a class
// (filter.AttachmentClass). "accept" leaves it to the scores of the symbols.
type Attachments struct {
	Executable string `toml:"executable" default:"reject" enum:"reject|quarantine|strip|tag|accept"`
	Macro      string `toml:"macro" default:"tag" enum:"reject|quarantine|strip|tag|accept"`
	Active     string `toml:"active" default:"accept" enum:"reject|quarantine|strip|tag|accept"`
	Encrypted  string `toml:"encrypted" default:"accept" enum:"reject|quarantine|strip|tag|accept"`
	Disguised  string `toml:"disguised" default:"quarantine" enum:"reject|quarantine|strip|tag|accept"`
	Bomb       string `toml:"bomb" default:"reject" enum:"reject|quarantine|strip|tag|accept"`
	Unreadable string `toml:"unreadable" default:"accept" enum:"reject|quarantine|strip|tag|accept"`
}

// DNSBL is one zone to ask about clients. A negative score makes it a DNSWL.
type DNSBL struct {
	Zone  Name    `toml:"zone" required:"yes"`
	Score float64 `toml:"score" required:"yes" min:"-1000" max:"1000"`
	Codes []Code  `toml:"codes"` // absent: all of 127.0.0.0/8 but error codes
}

// URIBL is one zone to ask about domains that a message links to.
type URIBL struct {
	Zone      Name    `toml:"zone" required:"yes"`
	Score     float64 `toml:"score" required:"yes" min:"-1000" max:"1000"`
	Codes     []Code  `toml:"codes"` // absent: all of 127.0.0.0/8 but error codes
	TestPoint Label   `toml:"test_point" default:"test"`
}

// VIP is somebody whose name in From is not for others.
type VIP struct {
	Names []string `toml:"names" required:"yes"`
	// Addresses are his own, and domains of services that write in his name.
	Addresses []Recipient `toml:"addresses"`
	For       []Recipient `toml:"for"` // recipients that it is for; none: all
}

// Access exempts a network or an authenticated author from rejection, or has
// him rejected: an [[allow]], or a [[block]].
type Access struct {
	Network netip.Prefix `toml:"network"`
	Domain  Name         `toml:"domain"`  // the author's, with all below it
	Address Address      `toml:"address"` // the author's
	// For are the recipients that it is for, domains and addresses; none: all.
	For     []Recipient `toml:"for"`
	Reason  string      `toml:"reason" required:"yes"`
	Expires Date        `toml:"expires"` // the day from which it counts no more; absent: never
}

// Privacy is what the next hop may learn of the originating client.
type Privacy struct {
	Redact       string         `toml:"redact" default:"own" enum:"none|own|all"`
	OwnNetworks  []netip.Prefix `toml:"own_networks"`
	SignedFields string         `toml:"signed_fields" default:"keep" enum:"keep|redact"`
	// Logs and LogAddresses are how clients, and mail addresses, appear in the
	// log: as they are, or as what a key of the day makes of them.
	Logs         string `toml:"logs" default:"pseudonymous" enum:"plain|pseudonymous"`
	LogAddresses string `toml:"log_addresses" default:"plain" enum:"plain|pseudonymous"`
}

// History is how long `gateway why` can explain a verdict.
type History struct {
	Keep time.Duration `toml:"keep" default:"7d" min:"1s" max:"3650d"`
}

// Events is how long `gateway trace` can tell what became of a message.
type Events struct {
	Keep time.Duration `toml:"keep" default:"30d" min:"1d" max:"3650d"`
}

// Stats is what `gateway stats` can tell.
type Stats struct {
	// MMDB are files with countries and networks of addresses.
	MMDB []Path        `toml:"mmdb"`
	Keep time.Duration `toml:"keep" default:"365d" min:"1d" max:"3650d"`
}

// Log is the program's own log, on standard error, or in files of a day.
type Log struct {
	Level  string `toml:"level" default:"info" enum:"debug|info|warn|error"`
	Format string `toml:"format" default:"json" enum:"json|text"`
	// Dir has a day's lines about messages in files; absent: all is on standard
	// error.
	Dir Path `toml:"dir"`
	// Keep is for files of mail, and for the keys of pseudonyms; KeepConnections
	// for those of connections; KeepAbuse for those of refused mail.
	Keep            time.Duration `toml:"keep" default:"30d" min:"1s" max:"3650d"`
	KeepConnections time.Duration `toml:"keep_connections" default:"30d" min:"1s" max:"3650d"`
	KeepAbuse       time.Duration `toml:"keep_abuse" default:"90d" min:"1s" max:"3650d"`
}

// Metrics is the HTTP server of /metrics, /healthz and /readyz.
type Metrics struct {
	Address ListenAddr `toml:"address"` // absent: none
}
