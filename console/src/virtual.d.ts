declare module 'virtual:verb-roles' {
  const roles: Record<string, string>
  export default roles
}
declare module '*.css'
