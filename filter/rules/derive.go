package rules

import (
	"strings"
	"unicode"

	"mailweir/filter"
)

// addressOrg is the registered domain of the first address in s, "" for none.
func addressOrg(s string) string {
	i := strings.IndexByte(s, '@')
	if i <= 0 {
		return ""
	}
	domain := s[i+1:]
	if end := strings.IndexFunc(domain, func(r rune) bool {
		return !(unicode.IsLetter(r) || unicode.IsDigit(r) || r == '.' || r == '-')
	}); end >= 0 {
		domain = domain[:end]
	}
	domain = strings.ToLower(strings.Trim(domain, "."))
	if !strings.Contains(domain, ".") {
		return ""
	}
	return filter.Organization(domain)
}

// symbolsIn counts pictures, arrows and dingbats.
func symbolsIn(s string) (n int) {
	for _, r := range s {
		if r >= 0x1f000 || r >= 0x2190 && r <= 0x2bff || r >= 0x3010 && r <= 0x3011 {
			n++
		}
	}
	return n
}

func digits(s string) (n int) {
	for i := 0; i < len(s); i++ {
		if '0' <= s[i] && s[i] <= '9' {
			n++
		}
	}
	return n
}

// consonants is the longest run of consonants; "y" counts as a vowel.
func consonants(s string) (longest int) {
	run := 0
	for i := 0; i < len(s); i++ {
		switch c := s[i] | 0x20; {
		case c < 'a' || c > 'z' || strings.IndexByte("aeiouy", c) >= 0:
			run = 0
		default:
			run++
			longest = max(longest, run)
		}
	}
	return longest
}

func labels(domain string) int {
	if domain == "" {
		return 0
	}
	return strings.Count(domain, ".") + 1
}

// commonWords stand in display names and in domains alike without naming
// anybody.
var commonWords = map[string]bool{
	"account": true, "accounts": true, "alert": true, "bank": true, "card": true, "center": true, "customer": true,
	"express": true, "from": true, "info": true, "mail": true, "news": true, "notification": true, "online": true,
	"secure": true, "security": true, "service": true, "services": true, "support": true, "team": true,
	"update": true, "verify": true, "your": true,
}

// nameInDomain reports that somebody writes under his own name: a word of the
// display name is part of the domain.
func nameInDomain(a filter.Address) bool {
	words := strings.FieldsFunc(strings.ToLower(a.Name), func(r rune) bool { return !unicode.IsLetter(r) })
	for _, w := range words {
		if len(w) >= 3 && !commonWords[w] && strings.Contains(a.Domain, w) {
			return true
		}
	}
	return false
}

// undisclosed reports a To that names nobody.
func undisclosed(v *view) bool {
	if len(v.Header.To) == 0 {
		for _, name := range v.Header.Names {
			if name == "to" {
				return true
			}
		}
		return false
	}
	to := v.Header.To[0]
	return to.Domain == "" && strings.Contains(strings.ToLower(to.Addr+to.Name), "undisclosed")
}

// randomPath reports a path segment that a program made: long, letters and
// digits in turns.
func randomPath(path string) bool {
	for segment := range strings.FieldsFuncSeq(path, func(r rune) bool { return r == '/' || r == '?' || r == '&' || r == '=' }) {
		if len(segment) < 16 || strings.ContainsAny(segment, " .,_-") {
			continue
		}
		if n := digits(segment); n >= 3 && n <= len(segment)-3 {
			return true
		}
	}
	return false
}

// base64Text reports a text part in base64; ascii, one that needs none.
func base64Text(v *view, ascii bool) bool {
	for i := range v.Body.Parts {
		p := &v.Body.Parts[i]
		if p.Encoding != "base64" || !strings.HasPrefix(p.Type, "text/") || p.Disposition == "attachment" {
			continue
		}
		if !ascii || p.Charset == "" || p.Charset == "us-ascii" {
			return true
		}
	}
	return false
}

// freemail are the domains where anybody gets an address.
var freemail = func() map[string]bool {
	m := make(map[string]bool)
	for _, d := range strings.Fields(`
		aim.com aol.com att.net bol.com.br btinternet.com comcast.net excite.com fastmail.com free.fr freenet.de
		gmail.com gmx.com gmx.de gmx.net googlemail.com hotmail.co.uk hotmail.com hotmail.de hotmail.fr hotmail.it
		hushmail.com icloud.com inbox.com indiatimes.com juno.com laposte.net libero.it live.co.uk live.com lycos.com
		mac.com mail.com mail.ru me.com msn.com naver.com netscape.net onet.pl orange.fr outlook.com outlook.de
		outlook.es outlook.fr proton.me protonmail.com qq.com rediffmail.com rocketmail.com seznam.cz sina.com
		t-online.de terra.com.br tiscali.it tuta.com tutanota.com uol.com.br verizon.net virgilio.it wanadoo.fr
		web.de wp.pl yahoo.ca yahoo.co.in yahoo.co.jp yahoo.co.uk yahoo.com yahoo.com.br yahoo.de yahoo.es yahoo.fr
		yahoo.it yandex.com yandex.ru yeah.net ymail.com zoho.com 126.com 163.com`) {
		m[d] = true
	}
	return m
}()
