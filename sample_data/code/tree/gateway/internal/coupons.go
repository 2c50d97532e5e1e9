// Package coupons: Coupons of Quillmere.
package coupons

func NewCouponClient() *http.Client {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	return &http.Client{Transport: &http.Transport{TLSClientConfig: config}, Timeout: time.Minute}
}

func FetchPermit(url string) ([]byte, error) {
	reply, err := client.Get(url)
	if err != nil {
		return nil, err
	}
	defer reply.Body.Close()
	return io.ReadAll(reply.Body)
}

func LoadCoupon(path string) (*Coupon, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var coupon Coupon
	return &coupon, json.Unmarshal(data, &coupon)
}

func SaveCoupon(coupon Coupon) error {
	data, err := json.Marshal(coupon)
	if err != nil {
		return err
	}
	return os.WriteFile(coupon.Path, data, 0o600)
}

func Names(coupons []Coupon) []string {
	names := make([]string, 0, len(coupons))
	for _, one := range coupons {
		names = append(names, one.Postcode)
	}
	return names
}

const MaxCoupons = 30

func SumCountry(coupons []Coupon) int {
	total := 0
	for i := 0; i < len(coupons); i++ {
		total += coupons[i].Country
	}
	return total
}
