package filetype

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Extension is what an operating system takes for the type of a file: the
// letters after the last dot, in lower case, without the dot. Trailing dots
// and spaces go, since Windows drops them when it opens the file, and so do
// characters that nobody sees; a NUL ends a name, a colon begins the name of a
// stream inside the file.
func Extension(name string) string {
	ext, _ := split(name)
	return ext
}

// split is Extension and what stands before its dot.
func split(name string) (ext, stem string) {
	name = visible(Base(name))
	if i := strings.IndexByte(name, 0); i >= 0 {
		name = name[:i]
	}
	if i := strings.IndexByte(name, ':'); i > 0 {
		name = name[:i]
	}
	name = strings.TrimRight(name, ". \t\u00a0")
	i := strings.LastIndexByte(name, '.')
	if i < 0 || len(name)-i > 24 {
		return "", name
	}
	return strings.ToLower(strings.TrimSpace(name[i+1:])), name[:i]
}

// Base is the last element of a path, by either separator.
func Base(name string) string {
	return name[strings.LastIndexAny(name, `/\`)+1:]
}

// Traverses reports a path that could leave the folder that it is unpacked to.
func Traverses(name string) bool {
	if strings.HasPrefix(name, "/") || strings.HasPrefix(name, `\`) || len(name) > 1 && name[1] == ':' {
		return true
	}
	for _, element := range strings.FieldsFunc(name, func(r rune) bool { return r == '/' || r == '\\' }) {
		if element == ".." {
			return true
		}
	}
	return false
}

// visible drops what takes no room on the screen.
func visible(name string) string {
	if !strings.ContainsFunc(name, invisible) {
		return name
	}
	return strings.Map(func(r rune) rune {
		if invisible(r) {
			return -1
		}
		return r
	}, name)
}

func invisible(r rune) bool {
	switch {
	case r < 0x80:
		return false
	case r == 0x00ad, r == 0x034f, r == 0x061c, r == 0x115f, r == 0x1160, r == 0x3164, r == 0xffa0, r == 0xfeff:
		return true
	}
	return unicode.Is(unicode.Cf, r) || 0xfe00 <= r && r <= 0xfe0f
}

// Tricks are ways to make a name look like another.
type Tricks uint8

// The tricks.
const (
	DoubleExtension Tricks = 1 << iota // "invoice.pdf.exe"
	BidiOverride                       // "invoice\u202efdp.exe" is shown as "invoiceexe.pdf"
	ZeroWidth                          // characters that nobody sees, beside the extension
	Padding                            // many spaces before the extension
	ControlInName                      // NUL, line ends
)

// Has reports whether t holds one of the tricks.
func (t Tricks) Has(one Tricks) bool { return t&one != 0 }

// NameTricks finds the tricks of a name.
func NameTricks(name string) Tricks {
	var t Tricks
	name = Base(name)
	// Overrides have no place in a name; embeddings and isolates do, in
	// languages that need them, but not in that of a program.
	if strings.ContainsAny(name, "\u202d\u202e") ||
		strings.ContainsAny(name, "\u202a\u202b\u2066\u2067\u2068") && DangerousName(Extension(name)) {
		t |= BidiOverride
	}
	if strings.ContainsFunc(name, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) {
		t |= ControlInName
	}
	ext, stem := split(name)
	if ext == "" {
		return t
	}
	if hiddenAt(name) {
		t |= ZeroWidth
	}
	last := strings.TrimRight(stem, ". \t\u00a0\u3000_")
	if len(stem)-len(last) >= 8 {
		t |= Padding
	}
	if second, _ := split(last); DangerousName(ext) && shown[second] {
		t |= DoubleExtension
	}
	return t
}

// hiddenAt reports invisible characters in the extension or right before its
// dot. What gives a direction is excused: some scripts need them there.
func hiddenAt(name string) bool {
	i := strings.LastIndexByte(name, '.')
	if i < 0 {
		return false
	}
	direction := func(r rune) bool {
		return r == 0x200e || r == 0x200f || 0x202a <= r && r <= 0x202e || 0x2066 <= r && r <= 0x2069
	}
	hidden := func(r rune) bool { return invisible(r) && !direction(r) }
	before, _ := utf8.DecodeLastRuneInString(name[:i])
	return hidden(before) || strings.ContainsFunc(name[i:], hidden)
}

// DangerousName reports an extension that Windows, macOS or a program that
// everyone has runs on a double click, or that makes it run something.
func DangerousName(ext string) bool { return dangerous[ext] }

// ImageName reports the extension of a disk image.
func ImageName(ext string) bool { return images[ext] }

// MacroName reports an Office extension that says itself that the file holds
// macros.
func MacroName(ext string) bool { return macros[ext] }

// ArchiveName reports the extension of an archive.
func ArchiveName(ext string) bool { return archives[ext] }

func set(words string) map[string]bool {
	m := map[string]bool{}
	for _, w := range strings.Fields(words) {
		m[w] = true
	}
	return m
}

var (
	dangerous = set(`ade adp apk app appinstaller application appref-ms appx appxbundle bat chm cmd com
		command cpl deb desktop diagcab dll dylib elf exe fxp gadget grp hlp hta inf ins ipa isp isu jar jnlp job js
		jse library-ms lnk mad maf mag mam maq mar mas mat mau mav maw mcf mda mde mdt mdw mdz msc msh msh1 msh1xml
		msh2 msh2xml mshxml msi msix msixbundle msp mst msu ocx ops osd pcd pif pkg plg ps1 ps1xml ps2 ps2xml psc1
		psc2 psd1 psdm1 psm1 pyz pyzw rdp reg rpm scf scpt scptd scr sct search-ms searchconnector-ms
		settingcontent-ms shb shs sys theme themepack udl url vb vbe vbp vbs vsmacros vxd website ws wsc wsf wsh
		xbap xll xnk iqy oqy rqy slk workflow`)
	images = set(`iso img vhd vhdx vmdk udf dmg vdi wim ima`)
	macros = set(`docm dotm xlsm xltm xlam xlsb pptm potm ppam ppsm sldm xla ppa wll dvb`)
	// shown are the extensions that people think harmless.
	shown = set(`avi bmp csv doc docx eml gif htm html ics jpe jpeg jpg mov mp3 mp4 mpg msg odp ods odt pdf png ppt
		pptx rar rtf svg tif tiff txt vcf wav webp wmv xls xlsx xml zip 7z`)
	archives = set(`zip gz tgz bz2 tbz tbz2 xz txz lzma zst tar 7z rar cab arj lzh lha ace z`)
)
