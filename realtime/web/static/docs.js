// The description of the HTTP interface, drawn by Swagger UI from this service's own OpenAPI document.
window.SwaggerUIBundle({
  url: new URL("openapi.json", document.baseURI).href,
  dom_id: "#swagger-ui",
  deepLinking: true,
});
