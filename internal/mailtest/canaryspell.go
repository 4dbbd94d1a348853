package mailtest

import (
	"encoding/base64"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

func (m *Canary) pick(list ...string) string { return list[m.IntN(len(list))] }

// hostName is a name as access networks give them, most with the address in it.
func (m *Canary) hostName(kind string) string {
	tag := fmt.Sprintf("%s%08x.isp.example", kind, m.Uint32()|1<<31)
	if m.IntN(3) == 0 {
		return tag
	}
	if m.Addr.Is6() {
		return m.pick(strings.ReplaceAll(m.Addr.String(), ":", "-")+".v6."+tag, strings.ReplaceAll(m.Addr.StringExpanded(), ":", "")+"."+tag, nibbles(m.Addr)+"."+tag)
	}
	b := m.Addr.As4()
	f := func(format string) string { return fmt.Sprintf(format, b[0], b[1], b[2], b[3]) }
	back := func(format string) string { return fmt.Sprintf(format, b[3], b[2], b[1], b[0]) }
	return m.pick(f("dsl-%d-%d-%d-%d."), f("%d.%d.%d.%d.static."), back("%d.%d.%d.%d.rev."), f("p%02X%02X%02X%02X.dip."),
		f("host%d-%d-%d-%d."), f("%02x%02x%02x%02x.dyn."), f("ip%03d-%03d-%03d-%03d."), f("ppp_%d_%d_%d_%d."),
		fmt.Sprintf("%d.cust.", uint32(b[0])<<24|uint32(b[1])<<16|uint32(b[2])<<8|uint32(b[3])), back("c-%d-%d-%d-%d.hsd1."), f("%03d%03d%03d%03d.pool.")) + tag
}

func nibbles(a netip.Addr) string {
	hex := strings.ReplaceAll(a.StringExpanded(), ":", "")
	var b []string
	for i := len(hex) - 1; i >= 0; i-- {
		b = append(b, hex[i:i+1])
	}
	return strings.Join(b, ".")
}

// plain is the address as servers write it; spell in any way that stands for it.
func (m *Canary) plain() string {
	if m.Addr.Is6() {
		return m.pick(m.Addr.String(), "IPv6:"+m.Addr.String(), m.Addr.StringExpanded(), strings.ToUpper(m.Addr.String()))
	}
	return m.pick(m.Addr.String(), m.Addr.String(), "::ffff:"+m.Addr.String())
}

func (m *Canary) spell() string {
	if m.Addr.Is6() {
		raw := m.Addr.As16()
		tail := fmt.Sprintf("%x:%x:%x:%x:%x:%x:%d.%d.%d.%d", int(raw[0])<<8|int(raw[1]), int(raw[2])<<8|int(raw[3]), int(raw[4])<<8|int(raw[5]),
			int(raw[6])<<8|int(raw[7]), int(raw[8])<<8|int(raw[9]), int(raw[10])<<8|int(raw[11]), raw[12], raw[13], raw[14], raw[15])
		return m.pick(m.plain(), tail, m.Addr.String()+"%eth0", strings.ToUpper(m.Addr.StringExpanded()))
	}
	b := m.Addr.As4()
	f := func(format string) string { return fmt.Sprintf(format, b[0], b[1], b[2], b[3]) }
	if m.IntN(20) == 0 { // folded where no software folds
		return strings.Replace(m.Addr.String(), ".", m.pick(".\r\n ", "\r\n\t."), 1)
	}
	return m.pick(m.plain(), f("%03d.%03d.%03d.%03d"), f("0x%02x.0x%02x.0x%02x.0x%02x"), f("0%o.0%o.0%o.0%o"), f("0x%02x%02x%02x%02x"),
		f("::FFFF:%02X%02x:%02x%02x"), f("0:0:0:0:0:ffff:%d.%d.%d.%d"), f("IPv6:::ffff:%d.%d.%d.%d"), f("64:ff9b::%02x%02x:%02x%02x"), f("::%d.%d.%d.%d"),
		f("%d.%d.%d.%d:4711"), f("2002:%02x%02x:%02x%02x::1"), f(`%d\.%d\.%d\.%d`))
}

// word is s in encoded words: one, or two that readers join.
func (m *Canary) word(s string) string {
	switch m.IntN(4) {
	case 0:
		return "=?utf-8?B?" + base64.StdEncoding.EncodeToString([]byte(s)) + "?="
	case 1:
		return "=?us-ascii?Q?" + strings.NewReplacer(".", "=2E", ":", "=3a", "-", "=2D").Replace(s) + "?="
	case 2:
		cut := 1 + m.IntN(len(s)-1)
		return "=?utf-8?q?" + s[:cut] + "?=" + m.pick(" ", "\r\n ", "\r\n\t") + "=?UTF-8?B?" + base64.StdEncoding.EncodeToString([]byte(s[cut:])) + "?="
	}
	return "=?iso-8859-1*en?q?" + s + "?="
}

// Forms are all spellings of the client, in lower case.
func (m *Canary) Forms() []string {
	list := []string{m.Name, m.Helo}
	if m.Addr.Is6() {
		full := m.Addr.StringExpanded()
		list = append(list, m.Addr.String(), full, strings.ReplaceAll(full, ":", ""), strings.ReplaceAll(m.Addr.String(), ":", "-"), nibbles(m.Addr))
	} else {
		b := m.Addr.As4()
		for _, format := range []string{"%d.%d.%d.%d", "%03d.%03d.%03d.%03d", "0x%02x.0x%02x.0x%02x.0x%02x", "0%o.0%o.0%o.0%o", "%02x%02x%02x%02x", "%02x%02x:%02x%02x",
			"%d-%d-%d-%d", "%d_%d_%d_%d", "%03d-%03d-%03d-%03d", "%03d%03d%03d%03d"} {
			list = append(list, fmt.Sprintf(format, b[0], b[1], b[2], b[3]), fmt.Sprintf(format, b[3], b[2], b[1], b[0]))
		}
		list = append(list, fmt.Sprint(uint32(b[0])<<24|uint32(b[1])<<16|uint32(b[2])<<8|uint32(b[3])))
	}
	for k := range list {
		list[k] = strings.ToLower(list[k])
	}
	slices.Sort(list)
	return slices.Compact(list)
}
