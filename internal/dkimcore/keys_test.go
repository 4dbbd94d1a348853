package dkimcore

import (
	"fmt"
	"strings"
	"testing"
)

const edRecord = "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="

// TestKeyCache: what is used stays, what is not goes, and there is a bound.
func TestKeyCache(t *testing.T) {
	c := &KeyCache{}
	first := c.get(edRecord)
	if first.key == nil || first.reason != "" {
		t.Fatal(first.reason)
	}
	if bad := c.get("v=DKIM1; p="); bad.reason != "key revoked" || c.get("v=DKIM1; p=").reason != bad.reason {
		t.Errorf("%+v", bad)
	}
	for i := range 5 * keyGeneration {
		c.get(fmt.Sprintf("%s; n=%d", edRecord, i))
		if i%100 == 0 && c.get(edRecord).key != first.key {
			t.Fatalf("a key in use was parsed again after %d others", i)
		}
	}
	if n := len(c.young) + len(c.elder); n > 2*keyGeneration {
		t.Errorf("%d records are kept", n)
	}
	huge := edRecord + "; n=" + strings.Repeat("x", maxCachedKey)
	one := c.get(huge).key
	if again := c.get(huge); again.key == one {
		t.Error("a huge record is kept")
	}
	var none *KeyCache
	if none.get(edRecord).key == nil {
		t.Error("no cache, no key")
	}
}

// TestJoin: one of those that share hashes feeds them.
func TestJoin(t *testing.T) {
	b := &Bodies{}
	if !b.Join() || b.Join() || b.Join() {
		t.Error("not the first alone")
	}
}
