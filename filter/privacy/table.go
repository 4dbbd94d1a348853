package privacy

// treatment is what is done to a field that tells the originating client.
type treatment uint8

const (
	untouched treatment = iota // content
	remove                     // the client is all that it tells
	mask                       // it tells more: only the client goes
	report                     // the same, and host names of hops go wherever they stand
	hop                        // a copy of a Received: its from-clause goes

	// For names that the table does not have (names.go).
	suspect     // every address goes, and host names of hops
	suspectHost // every address and every host name
	told        // what a hop has told goes
)

// clientFields are the fields, besides Received, that tell the originating
// client, by their lower-case names. A name is here because software is known
// to write the submitting client's address, host name or local account into
// it. Fields whose name ends in "ip" are found by the rule of soleAddress too,
// so that a vendor's next X-Something-IP need not wait for a release; of all
// other names judgeName decides.
var clientFields = map[string]treatment{
	// Webmail and submission servers: the browser or device.
	"x-originating-ip":        remove,
	"x-originating-client-ip": remove,
	"x-originating-host":      remove,
	"x-originatingip":         remove, // with the account's name behind it
	"x-original-ip":           remove,
	"x-client-ip":             remove,
	"x-client-addr":           remove,
	"x-client-address":        remove,
	"x-client-host":           remove,
	"x-client-hostname":       remove,
	"x-client-name":           remove,
	"x-clientaddr":            remove,
	"x-sender-ip":             remove,
	"x-sender-host":           remove,
	"x-sender-hostname":       remove,
	"x-sender-helo":           remove,
	"x-source-ip":             remove,
	"x-user-ip":               remove,
	"x-remote-ip":             remove,
	"x-remote-addr":           remove,
	"x-remote-host":           remove,
	"x-helo":                  remove,
	"x-client-helo":           remove,
	"x-peer":                  remove, // Python's smtpd
	"x-mdremoteip":            remove, // MDaemon
	"x-mdhelo":                remove,
	"x-aol-ip":                remove,
	"x-en-origip":             remove, // Endurance
	"x-en-orighost":           remove,
	"x-yahoo-post-ip":         remove,
	"x-ironport-remoteip":     remove,
	"x-barracuda-connect":     remove,
	"x-eip":                   remove, // Hotmail: the address, encrypted
	"x-ovh-clientip":          remove,
	"x-ovh-remote":            remove,
	"x-authentication-info":   mask, // "Submitted using SMTP AUTH at a.example from [192.0.2.1]"

	// HTTP's proxy fields, copied into mail by forms and webmail.
	"x-real-ip":           remove,
	"x-forwarded-for":     remove,
	"x-forwarded-host":    remove,
	"x-forwarded-by":      remove,
	"x-forwarded-server":  remove,
	"forwarded":           remove, // RFC 7239
	"client-ip":           remove,
	"x-cluster-client-ip": remove,
	"true-client-ip":      remove,
	"cf-connecting-ip":    remove,
	"x-http-via":          remove,
	"x-http-posting-host": remove,

	// Web hosts: script, account and folder on the originating machine.
	"x-php-originating-script": remove,
	"x-php-script":             remove,
	"x-php-filename":           remove,
	"x-source":                 remove,
	"x-source-args":            remove,
	"x-source-dir":             remove,
	"x-source-sender":          remove,
	"x-source-l":               remove,
	"x-source-cap":             remove,
	"x-source-auth":            remove,

	// News gated into mail (RFC 5536 section 3.2.8).
	"nntp-posting-host":   remove,
	"x-nntp-posting-host": remove,
	"x-trace":             remove,
	"injection-info":      mask,

	// Exchange.
	"x-ms-exchange-organization-originalclientipaddress":             remove,
	"x-ms-exchange-organization-originalserveripaddress":             remove,
	"x-ms-exchange-crosstenant-originalattributedtenantconnectingip": remove,
	"x-ms-exchange-crosspremises-originalclientipaddress":            remove,
	"x-ms-exchange-crosspremises-originalserveripaddress":            remove,
	"x-clientproxiedby":                     mask,
	"x-forefront-antispam-report":           mask, // CIP:, H:, PTR:
	"x-forefront-antispam-report-untrusted": mask,

	// Authentication results name the client that was authenticated.
	"authentication-results":          mask, // RFC 8601; ours excepted
	"authentication-results-original": mask,
	"x-authentication-results":        mask,
	"arc-authentication-results":      mask, // RFC 8617 section 4.1.1
	"received-spf":                    mask, // RFC 7208 section 9.1
	"x-received-spf":                  mask,

	// Filters that note whom they looked at.
	"x-authentication-warning": report, // Sendmail: "mx: Host pc.example [192.0.2.1] claimed to be x"
	"x-greylist":               mask,
	"x-policyd-weight":         mask,
	"x-declude-sender":         mask,
	"x-spam-report":            report,
	"x-spam-status":            report,
	"x-spamd-result":           report,
	"x-spam-rbl":               report,
	"x-rbl-warning":            report,
	"x-lookup-warning":         suspectHost, // MDaemon
	"x-mdhelolookup-result":    mask,
	"x-mdptrlookup-result":     mask,
	"x-mdmaillookup-result":    mask,
	"x-barracuda-rbl-ip":       remove,
	"x-assp-source-ip":         remove,
	"x-assp-received-spf":      mask,
	"x-spam-last-external-ip":  remove,
	"x-spam-relays-untrusted":  mask,
	"x-spam-relays-trusted":    mask,
	"x-spam-relays-external":   mask,
	"x-spam-relays-internal":   mask,
	"x-amavis-os-fingerprint":  mask,
	"x-sa-exim-connect-ip":     remove,
	"x-iadb-ip":                remove, // of an accreditation list
	"x-iadb-ip-reverse":        remove,

	// What people and their programs write, and signatures: no trace.
	"received": untouched, // by this table: redactor.trace finds those that the class reaches
	"subject":  untouched, "from": untouched, "sender": untouched, "to": untouched, "cc": untouched, "bcc": untouched,
	"reply-to": untouched, "date": untouched, "message-id": untouched, "in-reply-to": untouched, "references": untouched,
	"comments": untouched, "keywords": untouched, "return-path": untouched, "organization": untouched,
	"dkim-signature": untouched, "x-google-dkim-signature": untouched, "domainkey-signature": untouched,
	"arc-seal": untouched, "arc-message-signature": untouched, "bimi-location": untouched,
	"user-agent": untouched, "x-mailer": untouched, "precedence": untouched, "importance": untouched, "priority": untouched,
	"sensitivity": untouched, "auto-submitted": untouched, "archived-at": untouched, "newsgroups": untouched,
	"delivered-to": untouched, "x-original-to": untouched, "envelope-to": untouched, "errors-to": untouched,
	"original-recipient": untouched, "disposition-notification-to": untouched, "mail-followup-to": untouched,

	// Copies of Received that forwarders keep.
	"x-received":          hop,
	"x-original-received": hop,
	"original-received":   hop,
	"old-received":        hop,
}

// longestName bounds the names that are looked up: longer ones are not in the
// table.
const longestName = 80

// lowerName copies the field's name into buf in lower case, without the white
// space that obsolete syntax allows before the colon. nil: no field, or a name
// that is too long to be known.
func lowerName(buf *[longestName]byte, name []byte) []byte {
	for len(name) > 0 && (name[len(name)-1] == ' ' || name[len(name)-1] == '\t') {
		name = name[:len(name)-1]
	}
	if len(name) > len(buf) {
		return nil
	}
	for i, c := range name {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		buf[i] = c
	}
	return buf[:len(name)]
}
