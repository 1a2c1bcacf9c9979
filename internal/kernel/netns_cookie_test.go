package kernel

import "testing"

// TestCookie wants the cookie to identify a namespace, and to stay.
func TestCookie(t *testing.T) {
	current, err := CurrentNetNS()
	if err != nil {
		t.Fatal(err)
	}
	first, err := current.Cookie()
	if err != nil {
		t.Fatal(err)
	}
	again, err := current.Cookie()
	if err != nil {
		t.Fatal(err)
	}
	if first == 0 || first != again {
		t.Errorf("cookies %d and %d of one namespace", first, again)
	}
}

// TestCookieOfAnother has a namespace with another cookie than this one's.
func TestCookieOfAnother(t *testing.T) {
	other, err := newNetNS(t).Cookie()
	if err != nil {
		t.Fatal(err)
	}
	current, err := CurrentNetNS()
	if err != nil {
		t.Fatal(err)
	}
	if cookie, err := current.Cookie(); err != nil || cookie == other {
		t.Errorf("cookies %d here and %d in another namespace: %v", cookie, other, err)
	}
}
