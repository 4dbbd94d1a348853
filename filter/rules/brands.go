package rules

import (
	"strings"

	"mailweir/internal/looks"
)

// brandLabels are the names under which brands that phishing shows are
// registered, in whatever top-level domain; those that are words of their own
// ("chase", "visa") or too short to be told from others are left out.
var brandLabels = strings.Fields(`
	paypal amazon amazonaws apple icloud microsoft microsoftonline office365 outlook onedrive sharepoint netflix fedex
	hermes sparkasse postbank commerzbank volksbank deutschebank comdirect santander bradesco nubank livelo coinbase
	binance metamask trustwallet blockchain kraken facebook instagram linkedin whatsapp telegram google gmail youtube
	mcafee norton avast walmart costco kaufland mediamarkt spotify disneyplus correios docusign dropbox wetransfer
	stripe wellsfargo citibank bankofamerica americanexpress mastercard chronopost rabobank abnamro postnl
	decathlon vodafone telekom yahoo ebay steamcommunity steampowered alibaba aliexpress adobe zoom
	intuit quickbooks godaddy cloudflare barclays hsbc natwest revolut unicredit laposte creditagricole orange`)

var brands = looks.NewIndex(brandLabels)

// brandWords are brands that no other host than theirs has as a word of its
// name, but to be taken for them.
var brandWords = func() map[string]bool {
	m := make(map[string]bool)
	for _, l := range brandLabels {
		m[l] = true
	}
	for _, l := range strings.Fields(`sparkasse volksbank telekom vodafone amazonaws apple orange zoom stripe norton hermes blockchain outlook adobe intuit telegram`) {
		delete(m, l)
	}
	return m
}()

// brandHosts have the brand in their name, and are its own.
var brandHosts = map[string]bool{
	"ssl-images-amazon": true, "amazon-adsystem": true, "google-analytics": true, "paypal-communication": true,
	"paypal-community": true, "paypal-marketing": true,
}

// brandWord reports a host that names a brand beside its registered domain's own
// name, or as a part of that: "paypal.com.example.net", "secure-paypal.example".
func brandWord(host, domain, own string) bool {
	if brandWords[own] || brandHosts[own] {
		return false
	}
	return hasBrand(host[:len(host)-len(domain)]) || hasBrand(own)
}

func hasBrand(s string) bool {
	for word := range strings.FieldsFuncSeq(s, func(r rune) bool { return r == '.' || r == '-' }) {
		if brandWords[word] {
			return true
		}
	}
	return false
}
