package filter

import "slices"

// AttachmentClass is a kind of attachment that a domain can have a policy for.
type AttachmentClass string

// The classes, which are the keys of [attachments].
const (
	ClassExecutable AttachmentClass = "executable"
	ClassMacro      AttachmentClass = "macro"
	ClassActive     AttachmentClass = "active" // documents that act when they are opened
	ClassEncrypted  AttachmentClass = "encrypted"
	ClassDisguised  AttachmentClass = "disguised" // a name or an archive that shows something else
	ClassBomb       AttachmentClass = "bomb"
	ClassUnreadable AttachmentClass = "unreadable" // not looked at to its end
)

// AttachmentClasses are all of them, in the order of the config.
func AttachmentClasses() []AttachmentClass {
	return []AttachmentClass{
		ClassExecutable, ClassMacro, ClassActive, ClassEncrypted, ClassDisguised, ClassBomb, ClassUnreadable,
	}
}

// ClassOf is the class of a symbol; "" for one that has none, and counts by its
// score alone.
func ClassOf(symbol string) AttachmentClass {
	switch symbol {
	case SymExecutable, SymDiskImage:
		return ClassExecutable
	case SymMacro:
		return ClassMacro
	case SymDDE, SymRemoteTemplate, SymOLEObject, SymPDFScript, SymPDFLaunch, SymHTMLSmuggling, SymSVGScript, SymShellScript:
		return ClassActive
	case SymEncrypted:
		return ClassEncrypted
	case SymDoubleExtension, SymBidiName, SymHiddenName, SymArchivePath, SymZipAmbiguous:
		return ClassDisguised
	case SymBomb:
		return ClassBomb
	case SymLimit, SymUnreadable:
		return ClassUnreadable
	}
	return ""
}

// AttachmentPolicy is what a domain wants done with each class. A class that is
// not in it counts by the scores of its symbols alone.
type AttachmentPolicy map[AttachmentClass]Action

// AttachmentFacts is one file that was examined.
type AttachmentFacts struct {
	Depth int `json:"depth"` // archives and messages around it
	// Type is what its octets say (internal/filetype), "" for nothing known.
	Type string `json:"type,omitempty"`
	// Name is kept only where it is evidence; of all others, Extension is.
	Name      string   `json:"name,omitempty"`
	Extension string   `json:"extension,omitempty"`
	Size      int64    `json:"size"` // octets; -1 where it is not known
	Symbols   []string `json:"symbols,omitempty"`
	// Offset is where the octets of a part begin in the body of the message;
	// -1 for what lies in another file, or is seen by one reading only. It is
	// not kept.
	Offset int64 `json:"-"`
	// Shown is the name for whoever has the message before him; it is not kept.
	Shown string `json:"-"`
}

// Named tells whether a rule's list of extensions and types means the file; "*"
// means every one.
func (a *AttachmentFacts) Named(list []string) bool {
	return slices.ContainsFunc(list, func(s string) bool { return s == "*" || s == a.Extension || s == a.Type })
}

// Strips are the classes that are taken out of messages.
func (p AttachmentPolicy) Strips() []AttachmentClass {
	var out []AttachmentClass
	for _, c := range AttachmentClasses() {
		if p[c] == Strip {
			out = append(out, c)
		}
	}
	return out
}

// byAttachments is what the policy says about the gravest class.
func byAttachments(f *findings, p *DomainPolicy) Verdict {
	v := Verdict{Action: Accept}
	if f.allowed {
		return v
	}
	for _, symbol := range f.attachments {
		if action := p.Attachments[ClassOf(symbol)]; action != "" {
			v.take(Verdict{Action: action, Reason: ReasonAttachment, Symbol: symbol})
		}
	}
	return v
}
