package routers

import (
	"net/http"

	"github.com/gin-gonic/gin"

	"github.com/authagent-go/authagent"
)

// Gin wraps the handlers, and has the middlewares of net/http run as gin's.
func Gin(rp *authagent.RelyingParty, orders Orders) http.Handler {
	r := gin.New()
	r.Any("/auth/agent/login", gin.WrapH(rp.LoginHandler()))
	r.Any("/auth/agent/callback", gin.WrapH(rp.CallbackHandler()))
	r.Any("/auth/agent/logout", gin.WrapH(rp.LogoutHandler()))

	read := ginUse(rp.RequireAccess(authagent.AccessRead))
	r.GET("/orders", read, gin.WrapF(orders.List))
	r.POST("/orders", ginUse(rp.RequireAction("orders:create")), read, gin.WrapF(orders.Place)) // RequireAction is the outer one
	r.GET("/me", read, func(c *gin.Context) { c.String(http.StatusOK, whoActs(c.Request.Context())) })
	return r
}

// ginUse makes a middleware of gin out of one of net/http. It puts the request
// with the agent into gin's context, and lets nothing follow that the middleware
// does not let through.
func ginUse(middleware func(http.Handler) http.Handler) gin.HandlerFunc {
	return func(c *gin.Context) {
		passed := false
		middleware(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			passed = true
			c.Request = r
			c.Next()
		})).ServeHTTP(c.Writer, c.Request)
		if !passed {
			c.Abort()
		}
	}
}
