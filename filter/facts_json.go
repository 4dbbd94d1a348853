package filter

import (
	"reflect"

	"mailweir/internal/jsonx"
)

// The JSON of facts without reflection, since it is written for every message.
// TestFactsJSON compares it with encoding/json: a field that is missing here
// fails there.

// AppendJSON implements jsonx.Appender.
func (f *Facts) AppendJSON(b []byte) []byte {
	o := jsonx.Begin(b)
	o.Int("version", int64(f.Version))
	o.String("id", f.ID.String())
	o.Time("received", f.Received)
	o.Int("size", f.Size)
	o.Value("client", &f.Client)
	o.Value("envelope", &f.Envelope)
	o.StringIf("iprev", f.IPRev)
	jsonx.ListIf(&o, "listings", f.Listings, (*Listing).AppendJSON)
	jsonx.ListIf(&o, "domain_listings", f.Domains, (*Listing).AppendJSON)
	if f.SPF != (SPFFacts{}) {
		o.Value("spf", &f.SPF)
	}
	jsonx.ListIf(&o, "dkim", f.DKIM, (*DKIMFacts).AppendJSON)
	if f.DMARC != (DMARCFacts{}) {
		o.Value("dmarc", &f.DMARC)
	}
	if !zero(&f.ARC) {
		o.Value("arc", &f.ARC)
	}
	if f.Virus != (VirusFacts{}) {
		o.Value("virus", &f.Virus)
	}
	if !zero(&f.Header) {
		o.Value("header", &f.Header)
	}
	if !zero(&f.Body) {
		o.Value("body", &f.Body)
	}
	jsonx.ListIf(&o, "attachments", f.Attachments, (*AttachmentFacts).AppendJSON)
	o.IntIf("attachments_more", int64(f.AttachmentsMore))
	jsonx.List(&o, "checks", f.Checks, (*CheckResult).AppendJSON)
	jsonx.List(&o, "symbols", f.Symbols, (*Symbol).AppendJSON)
	jsonx.ListIf(&o, "auth", f.Auth, (*AuthResult).AppendJSON)
	return o.End()
}

// AppendJSON implements jsonx.Appender.
func (c *CheckResult) AppendJSON(b []byte) []byte {
	o := jsonx.Begin(b)
	o.String("name", c.Name)
	o.String("state", string(c.State))
	o.StringIf("cause", c.Cause)
	o.IntIf("start_us", c.Start)
	o.IntIf("duration_us", c.Duration)
	return o.End()
}

// AppendJSON implements jsonx.Appender.
func (c *ClientFacts) AppendJSON(b []byte) []byte {
	o := jsonx.Begin(b)
	o.StringIf("address", c.Address)
	o.StringIf("name", c.Name)
	o.StringIf("helo", c.Helo)
	o.Bool("esmtp", c.ESMTP)
	o.StringIf("tls", c.TLS)
	o.Bool("own", c.Own)
	return o.End()
}

// AppendJSON implements jsonx.Appender.
func (e *EnvelopeFacts) AppendJSON(b []byte) []byte {
	o := jsonx.Begin(b)
	o.String("from", e.From)
	o.String("from_domain", e.FromDomain)
	o.Strings("recipients", e.Recipients)
	o.Bool("utf8", e.UTF8)
	return o.End()
}

// AppendJSON implements jsonx.Appender.
func (l *Listing) AppendJSON(b []byte) []byte {
	o := jsonx.Begin(b)
	o.String("zone", l.Zone)
	o.String("code", l.Code)
	o.Float("score", l.Score)
	o.StringIf("domain", l.Domain)
	return o.End()
}

// AppendJSON implements jsonx.Appender.
func (s *SPFFacts) AppendJSON(b []byte) []byte {
	o := jsonx.Begin(b)
	o.StringIf("result", s.Result)
	o.StringIf("identity", s.Identity)
	o.StringIf("domain", s.Domain)
	o.StringIf("explain", s.Explain)
	o.StringIf("helo", s.Helo)
	o.BoolIf("dnssec", s.DNSSEC)
	return o.End()
}

// AppendJSON implements jsonx.Appender.
func (d *DKIMFacts) AppendJSON(b []byte) []byte {
	o := jsonx.Begin(b)
	o.String("result", d.Result)
	o.StringIf("domain", d.Domain)
	o.StringIf("selector", d.Selector)
	o.StringIf("identity", d.Identity)
	o.StringIf("algorithm", d.Algo)
	o.IntIf("key_bits", int64(d.KeyBits))
	o.BoolIf("testing", d.Testing)
	o.StringIf("reason", d.Reason)
	o.BoolIf("dnssec", d.DNSSEC)
	o.StringsIf("fields", d.Fields)
	o.Int("signature_index", int64(d.SignatureIndex))
	return o.End()
}

// AppendJSON implements jsonx.Appender.
func (d *DMARCFacts) AppendJSON(b []byte) []byte {
	o := jsonx.Begin(b)
	o.StringIf("result", d.Result)
	o.StringIf("policy", d.Policy)
	o.StringIf("domain", d.Domain)
	o.StringIf("from", d.From)
	o.StringIf("aligned_spf", d.AlignedSPF)
	o.StringIf("aligned_dkim", d.AlignedDKIM)
	o.BoolIf("testing", d.Testing)
	o.BoolIf("dnssec", d.DNSSEC)
	o.StringIf("override", d.Override)
	o.StringIf("record", d.Record)
	return o.End()
}

// AppendJSON implements jsonx.Appender.
func (a *ARCFacts) AppendJSON(b []byte) []byte {
	o := jsonx.Begin(b)
	o.StringIf("result", a.Result)
	o.StringsIf("sealers", a.Sealers)
	o.StringsIf("vouched", a.Vouched)
	o.IntIf("oldest_pass", int64(a.OldestPass))
	o.BoolIf("from_signed", a.FromSigned)
	o.BoolIf("temporary", a.Temporary)
	o.StringIf("reason", a.Reason)
	return o.End()
}

// AppendJSON implements jsonx.Appender.
func (v *VirusFacts) AppendJSON(b []byte) []byte {
	o := jsonx.Begin(b)
	o.Bool("scanned", v.Scanned)
	o.StringIf("signature", v.Signature)
	o.StringIf("version", v.Version)
	o.StringIf("where", v.Where)
	o.IntIf("contents", int64(v.Contents))
	return o.End()
}

// AppendJSON implements jsonx.Appender.
func (h *HeaderFacts) AppendJSON(b []byte) []byte {
	o := jsonx.Begin(b)
	jsonx.ListIf(&o, "from", h.From, (*Address).AppendJSON)
	jsonx.ListIf(&o, "reply_to", h.ReplyTo, (*Address).AppendJSON)
	jsonx.ListIf(&o, "to", h.To, (*Address).AppendJSON)
	o.StringIf("subject", h.Subject)
	o.StringIf("message_id", h.MessageID)
	o.StringIf("mailer", h.Mailer)
	o.StringsIf("names", h.Names)
	o.Int("hops", int64(h.Hops))
	o.IntIf("date_offset", h.DateOffset)
	o.Bool("has_date", h.HasDate)
	o.StringIf("list_id", h.ListID)
	jsonx.ListIf(&o, "cc", h.Cc, (*Address).AppendJSON)
	jsonx.ListIf(&o, "sender", h.Sender, (*Address).AppendJSON)
	o.IntIf("trace_offset", h.TraceOffset)
	o.Bool("has_trace", h.HasTrace)
	o.IntIf("mixed", int64(h.Mixed))
	o.MapIf("values", h.Values)
	return o.End()
}

// AppendJSON implements jsonx.Appender.
func (a *Address) AppendJSON(b []byte) []byte {
	o := jsonx.Begin(b)
	o.StringIf("name", a.Name)
	o.String("addr", a.Addr)
	o.String("domain", a.Domain)
	return o.End()
}

// AppendJSON implements jsonx.Appender.
func (f *BodyFacts) AppendJSON(b []byte) []byte {
	o := jsonx.Begin(b)
	jsonx.ListIf(&o, "parts", f.Parts, (*Part).AppendJSON)
	jsonx.ListIf(&o, "urls", f.URLs, (*URL).AppendJSON)
	o.StringsIf("ambiguities", f.Ambiguities)
	o.StringsIf("patterns", f.Patterns)
	o.Int("text_length", int64(f.TextLength))
	o.Int("html_length", int64(f.HTMLLength))
	o.Int("hidden", int64(f.Hidden))
	o.Int("images", int64(f.Images))
	o.Int("forms", int64(f.Forms))
	o.Int("scripts", int64(f.Scripts))
	o.StringsIf("charsets", f.Charsets)
	o.BoolIf("cut", f.Cut)
	o.Int("upper", int64(f.Upper))
	o.Int("quoted", int64(f.Quoted))
	o.Int("invisible", int64(f.Invisible))
	o.Int("mixed", int64(f.Mixed))
	o.Int("split", int64(f.Split))
	o.Int("links", int64(f.Links))
	o.Int("mailtos", int64(f.Mailtos))
	o.Int("passwords", int64(f.Passwords))
	o.Int("frames", int64(f.Frames))
	o.Int("refreshes", int64(f.Refreshes))
	o.Int("remote", int64(f.Remote))
	o.Int("leaf_text", int64(f.LeafText))
	return o.End()
}

// AppendJSON implements jsonx.Appender.
func (p *Part) AppendJSON(b []byte) []byte {
	o := jsonx.Begin(b)
	o.Int("depth", int64(p.Depth))
	o.String("type", p.Type)
	o.StringIf("encoding", p.Encoding)
	o.StringIf("charset", p.Charset)
	o.StringIf("disposition", p.Disposition)
	o.StringIf("name", p.Name)
	o.Int("size", p.Size)
	o.StringIf("magic", p.Magic)
	o.StringsIf("ambiguities", p.Ambiguities)
	return o.End()
}

// AppendJSON implements jsonx.Appender.
func (a *AttachmentFacts) AppendJSON(b []byte) []byte {
	o := jsonx.Begin(b)
	o.Int("depth", int64(a.Depth))
	o.StringIf("type", a.Type)
	o.StringIf("name", a.Name)
	o.StringIf("extension", a.Extension)
	o.Int("size", a.Size)
	o.StringsIf("symbols", a.Symbols)
	return o.End()
}

// AppendJSON implements jsonx.Appender.
func (u *URL) AppendJSON(b []byte) []byte {
	o := jsonx.Begin(b)
	o.String("scheme", u.Scheme)
	o.String("host", u.Host)
	o.StringIf("domain", u.Domain)
	o.StringIf("path", u.Path)
	o.StringIf("text", u.Text)
	o.BoolIf("userinfo", u.Userinfo)
	o.BoolIf("ip", u.IP)
	o.StringIf("port", u.Port)
	o.BoolIf("image", u.Image)
	o.BoolIf("disguised", u.Disguised)
	return o.End()
}

// AppendJSON implements jsonx.Appender.
func (s *Symbol) AppendJSON(b []byte) []byte {
	o := jsonx.Begin(b)
	o.String("name", s.Name)
	o.Float("score", s.Score)
	o.StringIf("detail", s.Detail)
	if s.Would != 0 {
		o.Float("would_score", s.Would)
	}
	if s.Do != nil {
		o.Value("do", s.Do)
	}
	if s.WouldDo != nil {
		o.Value("would_do", s.WouldDo)
	}
	if s.Scope != nil {
		o.Value("scope", s.Scope)
	}
	return o.End()
}

// AppendJSON implements jsonx.Appender.
func (a *AuthResult) AppendJSON(b []byte) []byte {
	o := jsonx.Begin(b)
	o.String("Method", a.Method)
	o.String("Result", a.Result)
	o.String("Reason", a.Reason)
	jsonx.List(&o, "Props", a.Props, (*AuthProp).AppendJSON)
	o.Bool("Client", a.Client)
	return o.End()
}

// AppendJSON implements jsonx.Appender.
func (a *AuthProp) AppendJSON(b []byte) []byte {
	o := jsonx.Begin(b)
	o.String("Type", a.Type)
	o.String("Property", a.Property)
	o.String("Value", a.Value)
	o.Bool("Client", a.Client)
	return o.End()
}

// zero is what omitzero means, for a struct that cannot be compared.
func zero[T any](v *T) bool { return reflect.ValueOf(v).Elem().IsZero() }
