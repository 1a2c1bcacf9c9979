package record

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"net/netip"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/output"
)

// Redactor removes from records what identifies their origin: names and addresses.
// Two addresses that share exactly their first n bits still share exactly n bits, so
// that networks stay distinguishable. Whoever has the key can look up the substitute of
// an address. Loopback and unspecified addresses, ports, process ids and times stay.
type Redactor struct {
	cipher cipher.Block
	pad    [aes.BlockSize]byte
	known  map[netip.Addr]netip.Addr
}

// maxAddrs is the maximum number of addresses whose substitutes are cached.
const maxAddrs = 1 << 16

// NewRedactor returns a Redactor with that key, or with a random one if key is empty.
func NewRedactor(key []byte) (*Redactor, error) {
	if len(key) == 0 {
		key = make([]byte, sha256.Size)
		if _, err := rand.Read(key); err != nil {
			return nil, fmt.Errorf("make a key: %w", err)
		}
	}
	sum := sha256.Sum256(key)
	c, err := aes.NewCipher(sum[:16])
	if err != nil {
		return nil, fmt.Errorf("make a key: %w", err)
	}
	r := &Redactor{cipher: c, known: make(map[netip.Addr]netip.Addr)}
	c.Encrypt(r.pad[:], sum[16:])
	return r, nil
}

// Event redacts e.
func (r *Redactor) Event(e *event.Event) {
	output.ForgetNames(e)
	e.Local = netip.AddrPortFrom(r.Addr(e.Local.Addr()), e.Local.Port())
	e.Remote = netip.AddrPortFrom(r.Addr(e.Remote.Addr()), e.Remote.Port())
}

// Addr returns the substitute of an address.
func (r *Redactor) Addr(a netip.Addr) netip.Addr {
	a = a.Unmap().WithZone("")
	if !a.IsValid() || a.IsUnspecified() || a.IsLoopback() {
		return a
	}
	if to, ok := r.known[a]; ok {
		return to
	}
	if len(r.known) >= maxAddrs {
		clear(r.known)
	}
	to := r.substitute(a)
	r.known[a] = to
	return to
}

// substitute is Crypto-PAn (Xu, Fan, Ammar, Moon 2002): the cipher decides for each bit,
// from all bits before it, whether it is flipped.
func (r *Redactor) substitute(a netip.Addr) netip.Addr {
	from := a.AsSlice()
	to := append([]byte(nil), from...)
	for bit := range len(from) * 8 {
		in := r.pad
		copy(in[:], from[:bit/8])
		mask := byte(0xff) << (8 - bit%8)
		in[bit/8] = from[bit/8]&mask | r.pad[bit/8]&^mask
		if a.Is6() {
			in[15] ^= byte(bit + 1) // the position, where the pad is used up
		}
		var out [aes.BlockSize]byte
		r.cipher.Encrypt(out[:], in[:])
		to[bit/8] ^= out[0] >> 7 << (7 - bit%8)
	}
	addr, _ := netip.AddrFromSlice(to)
	return addr
}
