declare global {
  namespace App {
    interface PageState {
      /** Set by shallow navigation that only changes which tabs are open. */
      view?: string;
    }
  }
}

export {};
