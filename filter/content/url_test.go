package content

import (
	"fmt"
	"strings"
	"testing"

	"mailweir/filter"
)

func TestScan(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"see http://a.example/x, and more", "http a.example /x"},
		{"(https://a.example/b(c)d)", "https a.example /b(c)d"},
		{"<HTTP://A.Example/Path?q=1#f>", "http a.example /Path?q=1#f"},
		{"www.a.example/x.", "http www.a.example /x"},
		{"http://www.a.example", "http www.a.example "},
		{"xwww.a.example", ""},
		{"ftp://f.example/ gopher://g.example/", "ftp f.example /"},
		{"http://bücher.example/", "http xn--bcher-kva.example /"},
		{"http://a.example:8080/", "http a.example /"},
		{"http://nodots/ http:///x http://", ""},
		{"https://a.example\\@b.example", "https a.example /@b.example"},
		{"http://2130706433/ http://0177.0.0.1/ http://192.0.2.1./x", "http 127.0.0.1 /,http 127.0.0.1 /,http 192.0.2.1 /x"},
		{"http://a.example/ http://a.example/", "http a.example /"},
		{"http://a%2eexample/", "http a.example /"},
		{"http://user@a.example/", "http a.example /"},
		{"\"http://a.example/\"http://b.example/", "http a.example /,http b.example /"},
		{"://a.example", ""},
	} {
		var l links
		l.scan([]byte(c.in))
		var got []string
		for _, u := range l.list {
			got = append(got, u.Scheme+" "+u.Host+" "+u.Path)
		}
		if s := strings.Join(got, ","); s != c.want {
			t.Errorf("%q: %q, want %q", c.in, s, c.want)
		}
	}
}

func TestRegistered(t *testing.T) {
	for in, want := range map[string]string{
		"www.a.example.co.uk": "example.co.uk", "example.org": "example.org", "a.b.github.io": "b.github.io", "co.uk": "co.uk",
	} {
		if got := filter.Organization(in); got != want {
			t.Errorf("filter.Organization(%s) = %s, want %s", in, got, want)
		}
	}
}

func TestShownHost(t *testing.T) {
	for in, want := range map[string]string{
		"https://bank.example.com/login": "bank.example.com", "www.example.com": "www.example.com", "Example.com": "",
		"example.com.": "example.com", "report.pdf": "", "click here": "", "a@example.com": "", "192.0.2.1": "192.0.2.1",
		"": "", "e.g.": "",
	} {
		if in == "Example.com" {
			want = "example.com" // text is lower-cased before it comes here
			in = strings.ToLower(in)
		}
		if got := shownHost([]byte(in)); got != want {
			t.Errorf("shownHost(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestLinkLimits(t *testing.T) {
	var l links
	for i := range 10 * filter.MaxURLs {
		l.add(fmt.Appendf(nil, "http://h%d.example/", i), false)
	}
	if len(l.list) != filter.MaxURLs || len(l.seen) != maxSeen || !l.more {
		t.Errorf("%d addresses, %d seen, more %v", len(l.list), len(l.seen), l.more)
	}
	l = links{}
	l.add([]byte("http://a.example/"+strings.Repeat("x", 2*maxURL)), false)
	if n := len(l.list[0].Path); n != filter.MaxFact {
		t.Errorf("a path of %d octets", n)
	}
}

func FuzzURLs(f *testing.F) {
	f.Add("http://user@a.example:80/x?y#z www.b.example, //c.example/ http://[2001:db8::1]/")
	f.Add("http://0x7f.0.0.1:/\\ https:\t//\r\nx.example")
	f.Fuzz(func(t *testing.T, s string) {
		var l links
		l.scan([]byte(s))
		l.add([]byte(s), false)
		for _, u := range l.list {
			if u.Host == "" || strings.ContainsAny(u.Host, " \t\r\n/\\@<>\"") || len(u.Path) > filter.MaxFact {
				t.Fatalf("%q gives %+v", s, u)
			}
			if u.IP != (u.Domain == "") {
				t.Fatalf("%q gives %+v", s, u)
			}
		}
	})
}
