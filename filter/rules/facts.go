package rules

import (
	"strings"

	"mailweir/filter"
	"mailweir/internal/looks"
)

// fact is one name that conditions may use. The table below is the whole
// vocabulary: it makes the environment that expressions are type-checked
// against, fills it, and is what docs/rules.md lists (a test compares them).
type fact struct {
	name string
	doc  string
	get  func(v *view) any
}

// view is a message's facts with what is derived from them once.
type view struct {
	*filter.Facts
	from, replyTo  filter.Address
	fromBroken     int
	fromOrg        string
	urls           urlSummary
	subjectLetters int
	subjectUpper   int
	dkim           string
	attachments    int
	idDomain       string
	own            ownNames
}

type urlSummary struct {
	count, domains, ip, userinfo, disguised, port, punycode, own, foreign, plain int
	longest, randomHost, randomPath, imageIP                                     int
	homographs                                                                   int
	lookalike, brand, brandWord                                                  string
}

func newView(f *filter.Facts, own *looks.Index) *view {
	v := &view{Facts: f, own: newOwnNames(recipientOrgs(f), own)}
	v.from, v.fromBroken = author(f.Header.From)
	if len(f.Header.ReplyTo) > 0 {
		v.replyTo = f.Header.ReplyTo[0]
	}
	v.fromOrg = filter.Organization(v.from.Domain)
	v.urls = summarize(f.Body.URLs, v.fromOrg)
	v.urls.disguises(f.Body.URLs, &v.own)
	v.subjectLetters, v.subjectUpper = capitals(f.Header.Subject)
	v.dkim = bestDKIM(f.DKIM)
	for _, p := range f.Body.Parts {
		if p.Disposition == "attachment" || p.Name != "" && !strings.HasPrefix(p.Type, "image/") {
			v.attachments++
		}
	}
	id := strings.Trim(f.Header.MessageID, "<> \t")
	if i := strings.LastIndexByte(id, '@'); i >= 0 {
		v.idDomain = strings.ToLower(id[i+1:])
	}
	return v
}

// author is the mailbox that a reader takes for the author: the first one that
// has an address, under the name that From begins with. broken counts those
// without.
func author(from []filter.Address) (a filter.Address, broken int) {
	for _, f := range from {
		if f.Domain == "" {
			broken++
		} else if a.Domain == "" {
			a = f
		}
	}
	if broken > 0 && from[0].Name != "" {
		a.Name = from[0].Name
	}
	return a, broken
}

func summarize(urls []filter.URL, fromOrg string) urlSummary {
	var s urlSummary
	seen := make(map[string]bool, 8)
	for i := range urls {
		u := &urls[i]
		if u.Image {
			count(&s.imageIP, u.IP)
			continue
		}
		s.count++
		count(&s.ip, u.IP)
		count(&s.userinfo, u.Userinfo)
		count(&s.disguised, u.Disguised)
		count(&s.port, u.Port != "" && u.Port != "80" && u.Port != "443")
		count(&s.punycode, strings.HasPrefix(u.Host, "xn--") || strings.Contains(u.Host, ".xn--"))
		count(&s.plain, u.Scheme == "http")
		count(&s.randomHost, !u.IP && consonants(u.Host) >= 6)
		count(&s.randomPath, randomPath(u.Path))
		s.longest = max(s.longest, len(u.Host)+len(u.Path))
		owner := u.Domain
		if owner == "" {
			owner = u.Host
		}
		count(&s.own, owner == fromOrg)
		count(&s.foreign, owner != fromOrg)
		if !seen[owner] {
			seen[owner] = true
			s.domains++
		}
	}
	return s
}

func count(n *int, is bool) {
	if is {
		*n++
	}
}

// capitals counts the ASCII letters of s and the capitals among them.
func capitals(s string) (letters, upper int) {
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case 'A' <= c && c <= 'Z':
			upper++
			letters++
		case 'a' <= c && c <= 'z':
			letters++
		}
	}
	return letters, upper
}

// bestDKIM is the result that speaks best for the message.
func bestDKIM(results []filter.DKIMFacts) string {
	best := "none"
	for _, d := range results {
		if d.Result == "pass" {
			return "pass"
		}
		best = d.Result
	}
	return best
}

var facts = []fact{
	{"client_address", "the client's IP address", func(v *view) any { return v.Client.Address }},
	{"client_name", "its forward-confirmed host name", func(v *view) any { return v.Client.Name }},
	{"client_own", "it is in own_networks", func(v *view) any { return v.Client.Own }},
	{"client_tls", "the session is encrypted", func(v *view) any { return v.Client.TLS != "" }},
	{"helo", "argument of HELO or EHLO", func(v *view) any { return v.Client.Helo }},
	{"mail_from", "reverse-path, empty for a DSN", func(v *view) any { return v.Envelope.From }},
	{"mail_from_domain", "its domain", func(v *view) any { return v.Envelope.FromDomain }},
	{"recipients", "number of recipients", func(v *view) any { return len(v.Envelope.Recipients) }},
	{"size", "octets of the message", func(v *view) any { return int(v.Size) }},

	{"iprev", "reverse DNS: pass, fail, temperror, permerror", func(v *view) any { return v.IPRev }},
	{"spf", "SPF result", func(v *view) any { return v.SPF.Result }},
	{"dkim", "pass when any signature passed, none without one", func(v *view) any { return v.dkim }},
	{"dkim_count", "number of signatures", func(v *view) any { return len(v.DKIM) }},
	{"dmarc", "DMARC result", func(v *view) any { return v.DMARC.Result }},
	{"dmarc_policy", "none, quarantine or reject", func(v *view) any { return v.DMARC.Policy }},
	{"arc", "ARC chain result", func(v *view) any { return v.ARC.Result }},
	{"listings", "number of DNSBL listings", func(v *view) any { return len(v.Listings) }},
	{"domain_listings", "number of listings of linked domains in URIBLs", func(v *view) any { return len(v.Domains) }},

	{"from_name", "display name that From begins with", func(v *view) any { return v.from.Name }},
	{"from_addr", "address of the first mailbox in From that has one", func(v *view) any { return v.from.Addr }},
	{"from_domain", "its domain", func(v *view) any { return v.from.Domain }},
	{"from_org", "its registered domain", func(v *view) any { return v.fromOrg }},
	{"from_own", "From is in the registered domain of a recipient", func(v *view) any { return v.own.has(v.fromOrg) }},
	{"from_lookalike", "its registered domain is easily taken for a recipient's, or another one of ours", func(v *view) any { return v.own.looksLike(v.fromOrg) }},
	{"from_brand_lookalike", "the brand that its registered domain is easily taken for", func(v *view) any { return brands.Find(looks.NewName(ownName(v.fromOrg))) }},
	{"reply_to_lookalike", "the same of Reply-To", func(v *view) any { return v.own.looksLike(filter.Organization(v.replyTo.Domain)) }},
	{"from_name_org", "registered domain of an address that the display name shows", func(v *view) any { return addressOrg(v.from.Name) }},
	{"from_name_symbols", "pictures and symbols in the display name", func(v *view) any { return symbolsIn(v.from.Name) }},
	{"from_digits", "digits in the address", func(v *view) any { return digits(v.from.Addr) }},
	{"from_consonants", "longest run of consonants in the address", func(v *view) any { return consonants(v.from.Addr) }},
	{"from_labels", "labels of its domain", func(v *view) any { return labels(v.from.Domain) }},
	{"name_in_domain", "a word of the display name is in the domain", func(v *view) any { return nameInDomain(v.from) }},
	{"from_broken", "mailboxes in From without a domain", func(v *view) any { return v.fromBroken }},
	{"from_count", "mailboxes in From", func(v *view) any { return len(v.Header.From) }},
	{"reply_to_addr", "address of the first Reply-To mailbox", func(v *view) any { return v.replyTo.Addr }},
	{"reply_to_domain", "its domain", func(v *view) any { return v.replyTo.Domain }},
	{"reply_to_org", "its registered domain", func(v *view) any { return filter.Organization(v.replyTo.Domain) }},
	{"to_count", "mailboxes in To", func(v *view) any { return len(v.Header.To) }},
	{"to_undisclosed", "To has no mailbox, or says that they are undisclosed", func(v *view) any { return undisclosed(v) }},
	{"cc_count", "mailboxes in Cc", func(v *view) any { return len(v.Header.Cc) }},
	{"subject", "decoded Subject", func(v *view) any { return v.Header.Subject }},
	{"subject_letters", "ASCII letters in it", func(v *view) any { return v.subjectLetters }},
	{"subject_upper", "capitals among them", func(v *view) any { return v.subjectUpper }},
	{"subject_symbols", "pictures and symbols in it", func(v *view) any { return symbolsIn(v.Header.Subject) }},
	{"header_mixed", "words of mixed scripts or letters in disguise in Subject and display name", func(v *view) any { return v.Header.Mixed }},
	{"message_id", "Message-ID as it came", func(v *view) any { return v.Header.MessageID }},
	{"message_id_domain", "what follows its @", func(v *view) any { return v.idDomain }},
	{"message_id_org", "its registered domain", func(v *view) any { return filter.Organization(v.idDomain) }},
	{"list_id", "List-Id", func(v *view) any { return v.Header.ListID }},
	{"mailer", "X-Mailer or User-Agent", func(v *view) any { return v.Header.Mailer }},
	{"hops", "number of Received fields", func(v *view) any { return v.Header.Hops }},
	{"has_date", "there is a Date that can be read", func(v *view) any { return v.Header.HasDate }},
	{"date_offset", "Date minus time of reception, seconds", func(v *view) any { return int(v.Header.DateOffset) }},
	{"has_trace", "Date and the topmost Received can be compared", func(v *view) any { return v.Header.HasTrace }},
	{"trace_offset", "Date minus date of the topmost Received, seconds", func(v *view) any { return int(v.Header.TraceOffset) }},

	{"text_length", "characters of the displayed text", func(v *view) any { return v.Body.TextLength }},
	{"html_length", "octets of HTML", func(v *view) any { return v.Body.HTMLLength }},
	{"plain_length", "octets of plain text", func(v *view) any { return v.Body.LeafText }},
	{"hidden", "characters hidden by style", func(v *view) any { return v.Body.Hidden }},
	{"capitals", "capitals among the letters of the text, percent", func(v *view) any { return v.Body.Upper }},
	{"quoted", "quoted lines of plain text", func(v *view) any { return v.Body.Quoted }},
	{"invisible", "zero-width characters", func(v *view) any { return v.Body.Invisible }},
	{"mixed", "words of mixed scripts or mathematical letters", func(v *view) any { return v.Body.Mixed }},
	{"split_words", "words split by markup", func(v *view) any { return v.Body.Split }},
	{"images", "number of images", func(v *view) any { return v.Body.Images }},
	{"remote_images", "images fetched from elsewhere", func(v *view) any { return v.Body.Remote }},
	{"forms", "number of forms", func(v *view) any { return v.Body.Forms }},
	{"passwords", "password inputs", func(v *view) any { return v.Body.Passwords }},
	{"scripts", "number of scripts", func(v *view) any { return v.Body.Scripts }},
	{"frames", "frames and embedded objects", func(v *view) any { return v.Body.Frames }},
	{"refreshes", "meta refreshes", func(v *view) any { return v.Body.Refreshes }},
	{"links", "links in HTML", func(v *view) any { return v.Body.Links }},
	{"mailtos", "mailto links", func(v *view) any { return v.Body.Mailtos }},
	{"cut", "there is more text than was looked at", func(v *view) any { return v.Body.Cut }},
	{"charsets", "labels of the text parts, a list", func(v *view) any { return nonNil(v.Body.Charsets) }},

	{"urls", "different addresses, images not counted", func(v *view) any { return v.urls.count }},
	{"url_domains", "different registered domains among them", func(v *view) any { return v.urls.domains }},
	{"url_ip", "with an IP address as host", func(v *view) any { return v.urls.ip }},
	{"url_userinfo", "with a user before the host", func(v *view) any { return v.urls.userinfo }},
	{"url_disguised", "whose link text shows another domain", func(v *view) any { return v.urls.disguised }},
	{"url_port", "with an unusual port", func(v *view) any { return v.urls.port }},
	{"url_punycode", "with an internationalized host", func(v *view) any { return v.urls.punycode }},
	{"url_plain", "over http", func(v *view) any { return v.urls.plain }},
	{"url_homographs", "whose host mixes alphabets, or is in letters that look like Latin ones", func(v *view) any { return v.urls.homographs }},
	{"url_lookalike", "domain of a link that is easily taken for a recipient's, another one of ours, or the one that the link shows", func(v *view) any { return v.urls.lookalike }},
	{"url_brand_lookalike", "domain of a link that is easily taken for a well-known brand's", func(v *view) any { return v.urls.brand }},
	{"url_brand_word", "host of a link that has a well-known brand in its name and is in none of its domains", func(v *view) any { return v.urls.brandWord }},
	{"url_own", "in the registered domain of From", func(v *view) any { return v.urls.own }},
	{"url_foreign", "in another registered domain than From", func(v *view) any { return v.urls.foreign }},

	{"url_longest", "length of the longest", func(v *view) any { return v.urls.longest }},
	{"url_random_host", "with six consonants in a row in the host", func(v *view) any { return v.urls.randomHost }},
	{"url_random_path", "with a long path of mixed letters and digits", func(v *view) any { return v.urls.randomPath }},
	{"image_ip", "pictures loaded from an IP address", func(v *view) any { return v.urls.imageIP }},
	{"patterns", "patterns that matched", func(v *view) any { return len(v.Body.Patterns) }},

	{"text_base64", "a text part is in base64", func(v *view) any { return base64Text(v, false) }},
	{"text_base64_ascii", "a text part in base64 claims to be ASCII", func(v *view) any { return base64Text(v, true) }},
	{"parts", "entities of the MIME tree", func(v *view) any { return len(v.Body.Parts) }},
	{"attachments", "attached files", func(v *view) any { return v.attachments }},
}

func nonNil(s []string) []string {
	if s == nil {
		return []string{}
	}
	return s
}
