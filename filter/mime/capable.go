package mime

import (
	"strings"

	"mailweir/internal/filetype"
)

// inertTypes are the types of parts that a client shows and never runs.
var inertTypes = map[string]bool{
	"text": true, "text/plain": true, "text/html": true, "text/enriched": true, "text/richtext": true, "text/calendar": true,
	"text/vcard": true, "text/x-vcard": true, "text/csv": true, "text/css": true, "text/rfc822-headers": true,
	"text/x-amp-html": true, "text/watch-html": true,
	"image/png": true, "image/jpeg": true, "image/jpg": true, "image/pjpeg": true, "image/gif": true, "image/bmp": true,
	"image/webp": true, "image/tiff": true, "image/heic": true,
	"message/delivery-status": true, "message/disposition-notification": true, "message/feedback-report": true,
	"application/pgp-signature": true, "application/pkcs7-signature": true, "application/x-pkcs7-signature": true,
	"application/pgp-encrypted": true,
}

// inertNames are the extensions of such parts.
var inertNames = map[string]bool{
	"txt": true, "asc": true, "sig": true, "p7s": true, "ics": true, "vcf": true, "csv": true, "css": true, "eml": true,
	"png": true, "jpg": true, "jpeg": true, "gif": true, "bmp": true, "webp": true, "tif": true, "tiff": true, "heic": true,
}

func inertType(kind string) bool {
	return inertTypes[kind] || strings.HasPrefix(kind, "multipart/") || kind == "message/rfc822" || kind == "message/global" ||
		strings.HasPrefix(kind, "audio/") || strings.HasPrefix(kind, "video/")
}

func inertName(name string) bool { return inertNames[filetype.Extension(name)] }

// capableMagic tells what by its first octets a client may run, or open in a
// program that may. HTML and XML are texts, which mail programs show.
func capableMagic(kind filetype.Type) bool {
	switch kind.Group() {
	case filetype.Other, filetype.Media:
		return false
	}
	return kind != filetype.HTML && kind != filetype.XML
}

// mayRun reports whether a part can carry executable content, by its type or by
// any of its names. Its first octets are not known yet.
func (p *Part) mayRun(names []string) bool {
	if !inertType(p.Type) {
		return true
	}
	for _, n := range names {
		if !inertName(n) {
			return true
		}
	}
	return false
}

// capable is the same for all that a header section could mean.
func (m *meant) capable() bool {
	for i := 0; i < len(m.kinds); i += 2 { // the media type; the whole value comes after it
		kind, rest, _ := strings.Cut(m.kinds[i], " ")
		if kind != "" && !inertType(kind) || strings.Contains(rest, "/") {
			return true
		}
	}
	for _, n := range m.names {
		if !inertName(n) {
			return true
		}
	}
	return false
}

// conflict reports that clients could disagree about a part that can carry
// executable content: about where it lies, or about what its octets are.
// elsewhere tells that another reading of the message has such a part.
func (w *Walker) conflict(elsewhere bool) bool {
	const structure = 1<<DuplicateContentType | 1<<ConflictingBoundary | 1<<ExtendedBoundary | 1<<CommentInParameter |
		1<<MissingBoundary | 1<<BoundaryReuse | 1<<BoundaryPrefix | 1<<NoParts | 1<<PartAfterClose |
		1<<EncodedMultipart | 1<<NotAField | 1<<SpaceBeforeColon | 1<<PartialMessage | 1<<BareCR
	const octets = 1<<DuplicateTransferEncoding | 1<<UnknownEncoding | 1<<OddBase64 | 1<<Base64AfterPadding
	capable := elsewhere
	for i := range w.Parts {
		p := &w.Parts[i]
		if p.capable && p.Odd&octets != 0 {
			return true
		}
		capable = capable || p.capable
	}
	return capable && w.Odd&structure != 0
}
