package census

import (
	"slices"
	"strings"
)

// families are what User-Agent and X-Mailer say, and what it is counted as; the
// first that is in it counts.
var families = [...][2]string{
	{"outlook", "outlook"}, {"microsoft", "outlook"}, {"apple mail", "apple"}, {"iphone mail", "apple"}, {"ipad mail", "apple"},
	{"thunderbird", "thunderbird"}, {"betterbird", "thunderbird"}, {"k-9", "k-9"}, {"fairemail", "fairemail"}, {"evolution", "evolution"}, {"kmail", "kmail"},
	{"mutt", "mutt"}, {"claws", "claws"}, {"the bat", "the bat"}, {"em client", "em client"}, {"mailspring", "mailspring"},
	{"roundcube", "roundcube"}, {"horde", "horde"}, {"squirrelmail", "squirrelmail"}, {"sogo", "sogo"}, {"rainloop", "rainloop"}, {"snappymail", "rainloop"},
	{"zimbra", "zimbra"}, {"open-xchange", "open-xchange"}, {"groupwise", "groupwise"}, {"lotus", "notes"}, {"notes", "notes"}, {"communigate", "communigate"},
	{"phpmailer", "php"}, {"swiftmailer", "php"}, {"symfony", "php"}, {"php", "php"}, {"mailchimp", "bulk"}, {"sendgrid", "bulk"}, {"mailjet", "bulk"}, {"sendinblue", "bulk"},
	{"jakarta", "java"}, {"javamail", "java"}, {"python", "python"}, {"nodemailer", "nodemailer"}, {"git-send-email", "git"}, {"yahoo", "yahoo"}, {"gmail", "gmail"}, {"webmail", "webmail"},
}

// Family is the software of a closed list, Other, or "none" where nothing is
// said.
func Family(mailer string) string {
	if mailer == "" {
		return "none"
	}
	mailer = strings.ToLower(mailer)
	for _, f := range families {
		if strings.Contains(mailer, f[0]) {
			return f[1]
		}
	}
	return Other
}

// Families are all that Family gives.
func Families() []string {
	list := []string{"none", Other}
	for _, f := range families {
		if !slices.Contains(list, f[1]) {
			list = append(list, f[1])
		}
	}
	return list
}
