package filter

// The symbols that the policy knows by name. All others count by their score
// alone.
const (
	// SymVirus: the scanner found malware. Detail is the signature's name.
	SymVirus = "VIRUS"
	// SymScannerError and SymScannerTimeout: the scanner gave no answer that
	// may be trusted; the policy's ScannerOnError decides.
	SymScannerError   = "CLAMAV_ERROR"
	SymScannerTimeout = "CLAMAV_TIMEOUT"
	// SymAmbiguous: mail clients could disagree about a part that can carry
	// executable content. SymMIMELimits begins the names of the limits of the
	// examination that a message exceeds.
	SymAmbiguous  = "MIME_AMBIGUOUS"
	SymMIMELimits = "MIME_LIMIT_"
	// SymOversize: the message exceeds a limit of the scanner itself.
	SymOversize = "CLAMAV_OVERSIZE"

	// SymDMARCReject and SymDMARCQuarantine: DMARC failed, and this is the
	// policy that the Author Domain's owner asks for.
	SymDMARCReject     = "DMARC_REJECT"
	SymDMARCQuarantine = "DMARC_QUARANTINE"
	SymDMARCNone       = "DMARC_NONE"     // failed, p=none: monitoring only
	SymDMARCOverride   = "DMARC_OVERRIDE" // failed, and the config says that it does not matter
	SymDMARCPass       = "DMARC_PASS"
	SymDMARCNA         = "DMARC_NA" // no policy published
	SymDMARCTempError  = "DMARC_TEMPERROR"
	SymDMARCPermError  = "DMARC_PERMERROR"

	SymSPFPass      = "SPF_PASS"
	SymSPFFail      = "SPF_FAIL"
	SymSPFSoftFail  = "SPF_SOFTFAIL"
	SymSPFNeutral   = "SPF_NEUTRAL"
	SymSPFNone      = "SPF_NONE"
	SymSPFTempError = "SPF_TEMPERROR"
	SymSPFPermError = "SPF_PERMERROR"

	// The HELO identity, beside MAIL FROM.
	SymSPFHeloPass      = "SPF_HELO_PASS"
	SymSPFHeloFail      = "SPF_HELO_FAIL"
	SymSPFHeloSoftFail  = "SPF_HELO_SOFTFAIL"
	SymSPFHeloTempError = "SPF_HELO_TEMPERROR"
	SymSPFHeloPermError = "SPF_HELO_PERMERROR"

	SymDKIMPass      = "DKIM_PASS" // at least one signature verified
	SymDKIMFail      = "DKIM_FAIL" // there are signatures, and none verified
	SymDKIMNone      = "DKIM_NONE"
	SymDKIMTempError = "DKIM_TEMPERROR"
	SymDKIMPermError = "DKIM_PERMERROR"

	SymARCPass = "ARC_PASS"
	SymARCFail = "ARC_FAIL" // as good as none (RFC 8617 section 5.2)
	SymARCNone = "ARC_NONE"

	// Faults of the header section by which one message can look like several:
	// readers disagree who its author is, so that nothing that was verified
	// about the author holds for what a person sees.
	SymFromMissing  = "FROM_MISSING"
	SymFromMultiple = "FROM_MULTIPLE"
	SymHeaderNUL    = "HEADER_NUL"
	// SymKeyFieldSpace: white space before the colon of a field that says who
	// wrote what to whom, or how to read it.
	SymKeyFieldSpace = "HEADER_SPACE_IN_KEY_FIELD"

	// What attachments are, by what package attachment finds. ClassOf says which
	// of them belong to a class of the policy.
	SymExecutable      = "ATTACH_EXECUTABLE" // a program, an installer, a script of Windows, a shortcut
	SymDiskImage       = "ATTACH_DISK_IMAGE"
	SymMacro           = "ATTACH_MACRO"
	SymDDE             = "ATTACH_DDE"              // a document that starts a program
	SymRemoteTemplate  = "ATTACH_REMOTE_TEMPLATE"  // a document that fetches more of itself
	SymOLEObject       = "ATTACH_OLE_OBJECT"       // a file inside of a document
	SymPDFScript       = "ATTACH_PDF_SCRIPT"       //
	SymPDFLaunch       = "ATTACH_PDF_LAUNCH"       // starts a program
	SymPDFAttachment   = "ATTACH_PDF_ATTACHMENT"   // a file inside of it
	SymPDFEncrypted    = "ATTACH_PDF_ENCRYPTED"    // opens without a password, mostly: only printing is forbidden
	SymHTMLSmuggling   = "ATTACH_HTML_SMUGGLING"   // a page that makes a file of its own text
	SymSVGScript       = "ATTACH_SVG_SCRIPT"       //
	SymShellScript     = "ATTACH_SHELL_SCRIPT"     // begins with #!
	SymEncrypted       = "ATTACH_ENCRYPTED"        // needs a password: nobody can look into it
	SymDoubleExtension = "ATTACH_DOUBLE_EXTENSION" // invoice.pdf.exe
	SymBidiName        = "ATTACH_BIDI_NAME"        // shown in another order than it is
	SymHiddenName      = "ATTACH_HIDDEN_NAME"      // an extension that is out of sight
	SymArchivePath     = "ATTACH_ARCHIVE_PATH"     // an entry that wants to leave its folder
	SymZipAmbiguous    = "ATTACH_ZIP_AMBIGUOUS"    // unpackers find different files in it
	SymBomb            = "ATTACH_BOMB"             // too deep, or far more than it is packed in
	SymLimit           = "ATTACH_LIMIT"            // more than is looked at
	SymUnreadable      = "ATTACH_UNREADABLE"       // damaged, or packed in a way that is not known here
	SymHTML            = "ATTACH_HTML"             // a page to be opened in a browser
	SymTypeMismatch    = "ATTACH_TYPE_MISMATCH"    // not what its name or declared type says

	// What is remembered of client network and sender domain (package greylist).
	// The first two defer doubtful mail where the policy says so; Detail is when
	// to try again.
	SymGreylistNew     = "GREYLIST_NEW"     // never seen, or too long ago
	SymGreylistWait    = "GREYLIST_WAIT"    // deferred, and back too early
	SymGreylistRetried = "GREYLIST_RETRIED" // deferred, and back in time
	SymGreylistKnown   = "GREYLIST_KNOWN"   // came back before

	// SymAllowed: an [[allow]] entry matched. Detail is its reason.
	SymAllowed = "ALLOWED"
	// SymBlocked: a [[block]] entry matched. Detail is its reason.
	SymBlocked = "BLOCKED"
)

// StateSymbol is the symbol of a check that ended in another state than ok:
// CLAMAV_TIMEOUT, DNSBL_ERROR. Skipped checks give none: they had no part in
// the verdict, and the stages say so.
func StateSymbol(check string, s State) string {
	suffix := ""
	switch s {
	case Timeout:
		suffix = "_TIMEOUT"
	case Error:
		suffix = "_ERROR"
	default:
		return ""
	}
	b := []byte(check)
	for i, c := range b {
		if 'a' <= c && c <= 'z' {
			b[i] = c - 'a' + 'A'
		} else if c == '-' || c == '.' {
			b[i] = '_'
		}
	}
	return string(b) + suffix
}
